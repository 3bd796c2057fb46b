"""Trainable gates: a step on each channel that learns, along with the weights, whether the channel stays.

Kim et al. (arXiv 1904.10921) give the gate and how it is used. That gates sit behind the batch norm, are shared by
what is coupled, start open, keep to [0, 1] and never close a whole part is our reading; how they come to their budget,
`ChannelGates.settle`, is ours.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.pruning.channels import Channels
from trainables.pruning_spec import Gates
from trainables.spec import BudgetKind

OPENS = 0.5  # w0, the least value of an open gate
CLOSED = OPENS - 2**-25  # the greatest value of a closed one, in float32
START = 0.6  # of every gate of a trained network: open, and not far from closing
SLIDES = 0.5  # of the gates' training: until then the target slides, from the dense network's cost to the budget
Shaping = Callable[[Tensor], Tensor]  # u = w - w0 -> g(u), of the same shape


def straight_through(u: Tensor) -> Tensor:
    """Pass the gradient on as it is: g = 1."""
    return torch.ones_like(u)


def sech2(u: Tensor) -> Tensor:
    """Pass less of the gradient the further a gate is from its threshold: g = sech^2(u)."""
    return u.cosh().square().reciprocal()


SHAPINGS: Mapping[str, Shaping] = {"straight-through": straight_through, "sech2": sech2}


def is_open(w: Tensor) -> Tensor:
    """b(w): whether a channel stays; w: any shape."""
    return w >= OPENS


def trainable_gate(w: Tensor, shaping: Shaping, resolution: int) -> Tensor:
    """TG(w; g) = b(w) + s(w) g(u) with u = w - w0: a step, whose gradient is g(u) almost everywhere.

    s(w) = (M u - floor(M u)) / M is a saw of slope 1, so that TG is within max|g| / M of the step; M is `resolution`.
    w: float32 of any shape, with |M u| well below 2^24, where float32 ends to tell numbers apart.
    """
    u = w - OPENS
    saw = (resolution * u - (resolution * u).floor()) / resolution
    return is_open(w).to(w.dtype) + saw * shaping(u)


@dataclass(frozen=True, eq=False)
class Gating:
    """What joint training leaves."""

    values: Mapping[str, Tensor]  # part name -> (units,) in [0, 1]; those from `OPENS` on are open
    network: Mapping[str, Tensor]  # the state of the whole network, trained along


class ChannelGates(nn.Module):
    """A gate for each unit of a network at channel granularity, all of them open at first."""

    _was_open: Tensor
    _flips: Tensor

    def __init__(self, channels: Channels, settings: Gates, budget: BudgetKind, target: float) -> None:
        """Put gates on a network; target: what of its cost is to stay."""
        super().__init__()
        self._channels, self.settings, self._budget, self._target = channels, settings, budget, target
        device = channels.example.device
        self._sizes = [part.units for part in channels.parts]
        self._dense_cost = channels.cost(np.array(self._sizes), budget)
        self._cost = channels.soft_cost(budget)
        owners = np.repeat(np.arange(len(self._sizes)), self._sizes)
        self._owners = torch.from_numpy(owners).to(device)
        self._of_parts = nn.functional.one_hot(self._owners, len(self._sizes)).double()  # (units, parts)
        within_floor = [place < part.floor for part in channels.parts for place in range(part.units)]
        self._within_floor = torch.tensor(within_floor).to(device)  # (units,) of bool, by place in its part
        self._least = sum(within_floor)
        self.values = nn.Parameter(torch.full((len(owners),), START, device=device))
        self.register_buffer("_was_open", is_open(self.values))
        self.register_buffer("_flips", torch.zeros((), dtype=torch.long, device=device))

    @property
    def lr(self) -> float:
        """Learning rate at the beginning: the more gates there are, the less each one matters to loss and cost."""
        return self.settings.lr * len(self.values)

    @property
    def of_parts(self) -> dict[str, Tensor]:
        """Values by part name: (units,) each, in the memory of all."""
        values = self.values.detach().split(self._sizes)
        return {part.name: mine for part, mine in zip(self._channels.parts, values, strict=True)}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Multiply the network's channels by their gates for a while: TG in training mode, b in eval mode.

        A batch norm's output times a gate is what it makes of its scale and shift times the gate, which are few.
        """
        owners = self._channels.gateable()
        sizes = [len(mine) for mine in owners.values()]
        of_channels = torch.from_numpy(np.concatenate([*owners.values()])).to(self.values.device)
        factors, ungated = dict[nn.Module, Tensor](), dict[nn.Module, Any]()

        def decide(model: nn.Module, _: Any) -> None:
            gates = self.trainable() if model.training else is_open(self.values).float()
            with_nobodys = torch.cat((gates, gates.new_ones(1)))
            factors.update(zip(owners, with_nobodys[of_channels].split(sizes), strict=True))

        def gate(norm: nn.Module, _: Any) -> None:
            ungated[norm] = dict(norm._parameters)
            norm._parameters.update({name: mine * factors[norm] for name, mine in ungated[norm].items()})

        def restore(norm: nn.Module, *_: Any) -> None:
            norm._parameters.update(ungated.pop(norm))

        def multiply(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            mine = factors[module].to(output.dtype)
            return output * (mine if isinstance(module, nn.Linear) else mine.view(-1, *[1] * (output.dim() - 2)))

        handles = [self._channels.model.register_forward_pre_hook(decide)]
        for module in owners:
            if isinstance(module, _BatchNorm) and module.affine:
                handles.append(module.register_forward_pre_hook(gate))
                handles.append(module.register_forward_hook(restore, always_call=True))
            else:
                handles.append(module.register_forward_hook(multiply))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def trainable(self) -> Tensor:
        """TG of all units, in the order of the parts, in float32 also where the network computes in less."""
        with torch.autocast(self.values.device.type, enabled=False):
            return trainable_gate(self.values, SHAPINGS[self.settings.shaping], self.settings.resolution)

    def ratio(self) -> Tensor:
        """The network's cost over that of the dense one, as a differentiable scalar."""
        return self._cost(self.trainable().double() @ self._of_parts) / self._dense_cost

    def penalty(self) -> Tensor:
        """lambda |target - ratio|^p, in float32."""
        return (self.settings.strength * (self._target - self.ratio()).abs() ** self.settings.power).float()

    @torch.no_grad()
    def settle(self, done: float) -> None:
        """Bring the cost to the target of now and the values back into [0, 1], after each step of training.

        The target slides with `done`, the fraction of the gates' training that is over. The values go down or up the
        slope of the cost, as far as it takes for as many gates to be open as the target has room for: a step of
        lambda |target - ratio| with the one lambda that meets the target, where a fixed one does or does not, depending
        on the learning rate of the weights. Of each part at least the floor stays open.
        """
        target = 1.0 - (1.0 - self._target) * min(1.0, done / SLIDES)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.ratio(), self.values)
        reach = (self.values - OPENS) / slope  # how far down the slope a gate stays open
        reach, order = reach.masked_fill(self._floored(reach), torch.inf).sort(descending=True, stable=True)
        spent = self._cost(self._of_parts[order].cumsum(0))  # with the first 1, 2, ... gates open
        count = (spent <= round(target * self._dense_cost)).sum().clamp(min=self._least)
        with_end = torch.cat((reach, reach.new_full((1,), -torch.inf)))
        last_open, first_closed = with_end[torch.stack((count - 1, count))]
        self.values.sub_(slope * first_closed.clamp(min=0.0).minimum(last_open))
        opens = torch.arange(len(order), device=order.device) < count
        now_open = torch.empty_like(self._was_open).scatter_(0, order, opens)
        lowest = 0.5 / self.settings.resolution  # the middle of the last tooth: at 0 a ReLU would pass no gradient on
        self.values.copy_(torch.where(now_open, self.values.clamp(OPENS, 1.0), self.values.clamp(lowest, CLOSED)))
        self._flips += (now_open != self._was_open).sum()
        self._was_open.copy_(now_open)

    def _floored(self, reach: Tensor) -> Tensor:
        """Mark the gates that the floors keep open, of each part those of greatest reach; (units,) of bool."""
        falling = reach.argsort(descending=True, stable=True)
        by_part = falling[self._owners[falling].argsort(stable=True)]
        return torch.empty_like(self._within_floor).scatter_(0, by_part, self._within_floor)

    def tell(self) -> dict[str, Any]:
        """Tell how many gates are open in each part, what of the cost that is, and the flips since this was asked."""
        counts = {name: int(is_open(mine).sum()) for name, mine in self.of_parts.items()}
        cost = self._channels.cost(np.array(list(counts.values())), self._budget)
        told = {"open": counts, "flips": int(self._flips), "ratio": cost / self._dense_cost}
        self._flips.zero_()
        return told
