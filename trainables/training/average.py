"""An exponential moving average of the weights of a network that trains."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

TRAINED, COUNT = "trained:", "averaged"  # keys of a memory: the weights that train, and the number of updates


class Average:
    """Averages weights and the statistics of norms. The average and what trains can swap places in the network.

    The decay of update n is at most (1 + n) / (10 + n): an average of few updates forgets the first weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        named = (*model.named_parameters(), *model.named_buffers())
        self._in_network = {name: tensor.detach() for name, tensor in named if tensor.is_floating_point()}
        self._other = {name: tensor.clone() for name, tensor in self._in_network.items()}
        self._decay = decay
        self._count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights that train, which the network has, to the average."""
        self._count += 1
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        torch._foreach_lerp_(list(self._other.values()), list(self._in_network.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights that train, in place."""
        here, there = list(self._in_network.values()), list(self._other.values())
        kept = [tensor.clone() for tensor in here]
        torch._foreach_copy_(here, there)
        torch._foreach_copy_(there, kept)

    def memory(self) -> dict[str, Tensor]:
        """Return the weights that train, while the network has the average."""
        return {COUNT: torch.tensor(self._count)} | {TRAINED + name: value for name, value in self._other.items()}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Take over the weights that train, while the network has the average."""
        if COUNT in memory:
            self._count = int(memory[COUNT])
            for name, tensor in self._other.items():
                tensor.copy_(memory[TRAINED + name])
