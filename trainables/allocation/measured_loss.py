"""What the whole network loses under an allocation, measured by masking units for a moment."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.allocation.problem import Problem
from trainables.arguments import outputs_of
from trainables.pruning.granularity import Counts, top_units

BATCH = 256  # samples at a time: enough for batch norms that use their statistics


class MeasuredLoss:
    """What is lost, as a mean over samples, under allocations (parts,) of kept units. Each is measured once.

    The task's distance from the dense network's outputs says what is lost.
    """

    def __init__(self, problem: Problem) -> None:
        """The network is in eval mode, but for its batch norms."""
        self._problem = problem
        self._model = problem.prunable.model
        self._state = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        self._saved = {name: tensor.detach().clone() for name, tensor in self._state.items()}
        self._known: dict[bytes, float] = {}
        self._distance = problem.context.samples.objective.distance
        self.dense = self._distance.reference(self._dense_outputs())

    def __call__(self, keep: Counts) -> float:
        """Measure an allocation."""
        if (key := keep.tobytes()) not in self._known:
            self._known[key] = self._lost(self._outputs(keep))
        return self._known[key]

    def around(self, keep: Counts, others: Sequence[Counts]) -> list[float]:
        """Measure allocations that differ little from `keep`."""
        return [self(other) for other in others]

    def prune(self, keep: Counts) -> dict[str, Tensor]:
        """Prune the network to an allocation. Return the masks of the parameters that lose weights."""
        self._prune_to(keep)
        gone = {name: (tensor == 0) & (self._saved[name] != 0) for name, tensor in self._model.named_parameters()}
        return {name: ~zeroed for name, zeroed in gone.items() if bool(zeroed.any())}

    @torch.no_grad()
    def undo(self) -> None:
        """Make the network what it was."""
        self._problem.prunable.unmask()
        for name, tensor in self._state.items():
            tensor.copy_(self._saved[name])

    def _mask(self, keep: Counts) -> None:
        """Restore the network, then mask all units but those of highest score."""
        self.undo()
        prunable, scores = self._problem.prunable, self._problem.scores
        counts = zip(prunable.parts, keep.tolist(), strict=True)
        prunable.mask({part.name: top_units(scores[part.name], units) for part, units in counts})

    def _prune_to(self, keep: Counts) -> None:
        self._mask(keep)

    def _dense_outputs(self) -> Tensor:
        return self._run()

    def _outputs(self, keep: Counts) -> Tensor:
        self._mask(keep)
        return self._run()

    @torch.no_grad()
    def _run(self) -> Tensor:
        """Run the network as it is now: outputs (N, ...)."""
        return torch.cat([outputs_of(self._model, each) for each in self._problem.context.samples.inputs_of(BATCH)])

    def _lost(self, outputs: Tensor) -> float:
        return self._distance.lost(self.dense, outputs)
