"""Trainable gates: a step on each channel that learns, along with the weights, whether the channel stays.

Kim et al. (arXiv 1904.10921) define the gate and the loss. Our reading: gates sit behind the batch norm, coupled
channels share one gate, all gates start open, values stay in [0, 1], and no part closes completely. How the gates meet
their budget, `ChannelGates.step_to_target`, is ours.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainables.arguments import device_of
from trainables.frozen import Frozen
from trainables.pruning.channels import Channels
from trainables.pruning.gated_tensors import attached
from trainables.pruning_spec import Gates
from trainables.spec import BudgetKind

OPENS = 0.5  # w0, the smallest value of an open gate
CLOSED = OPENS - 2**-25  # the largest value of a closed gate, in float32
START = 0.6  # initial value of every gate: open, and near the threshold
SLIDES = 0.5  # fraction of the gates' training in which the target falls from the dense network's cost to the budget
Shaping = Callable[[Tensor], Tensor]  # u = w - w0 -> g(u), of the same shape


def straight_through(u: Tensor) -> Tensor:
    """Pass the gradient unchanged: g = 1."""
    return torch.ones_like(u)


def sech2(u: Tensor) -> Tensor:
    """Pass less gradient to a gate that is further from its threshold: g = sech^2(u)."""
    return u.cosh().square().reciprocal()


SHAPINGS: Mapping[str, Shaping] = {"straight-through": straight_through, "sech2": sech2}


def is_open(w: Tensor) -> Tensor:
    """Compute the step b(w): True where the channel stays. w: any shape. Returns bool of the same shape."""
    return w >= OPENS


def trainable_gate(w: Tensor, shaping: Shaping, resolution: int) -> Tensor:
    """Compute TG(w; g) = b(w) + s(w) g(u) with u = w - w0: a step whose gradient is g(u) almost everywhere.

    s(w) = (M u - floor(M u)) / M is a sawtooth of slope 1, with M = `resolution`. TG is within max|g| / M of the step.
    w: float32 of any shape. |M u| must be well below 2^24, the largest range of consecutive integers in float32.
    Returns the shape of w.
    """
    u = w - OPENS
    sawtooth = (resolution * u - (resolution * u).floor()) / resolution
    return is_open(w).to(w.dtype) + sawtooth * shaping(u)


@dataclass(frozen=True, eq=False)
class TrainedGates:
    """The result of training gates along with the weights."""

    values: Mapping[str, Tensor]  # part name -> (units,) in [0, 1]; a gate is open from `OPENS` on
    network_state: Mapping[str, Tensor]  # state dict of the network


class GatesReport(Frozen):
    """The gates after an epoch."""

    open: dict[str, int]  # part name -> number of open gates
    flips: int  # how often gates opened or closed in this epoch
    ratio: float  # cost of the open channels over the cost of the dense network


class ChannelGates(nn.Module):
    """A gate for each unit of a network at channel granularity. All gates start open."""

    _was_open: Tensor
    _flips: Tensor

    def __init__(self, channels: Channels, settings: Gates, budget: BudgetKind, target: float) -> None:
        """Create the gates of a network; target: fraction of the dense network's cost to keep."""
        super().__init__()
        self._channels, self.settings, self._budget, self._target = channels, settings, budget, target
        device = device_of(channels.example)
        self._sizes = [part.units for part in channels.parts]
        self._dense_cost = channels.cost(np.array(self._sizes), budget)
        self._cost = channels.differentiable_cost(budget)
        parts = np.repeat(np.arange(len(self._sizes)), self._sizes)
        self._parts = torch.from_numpy(parts).to(device)  # (units,) index of each unit's part
        self._one_hot = nn.functional.one_hot(self._parts, len(self._sizes)).double()  # (units, parts)
        ranks = [(part, rank) for part in channels.parts for rank in range(part.units)]
        by_bounds = [
            torch.inf if rank < part.least else -torch.inf if rank >= part.most else 0.0 for part, rank in ranks
        ]
        self._bounds = torch.tensor(by_bounds).to(device)  # (units,) by rank: inf where it stays open, -inf closed
        self._least_open = sum(part.least for part in channels.parts)
        self._most_open = sum(part.most for part in channels.parts)
        self.values = nn.Parameter(torch.full((len(parts),), START, device=device))
        self.register_buffer("_was_open", is_open(self.values))
        self.register_buffer("_flips", torch.zeros((), dtype=torch.long, device=device))

    @property
    def lr(self) -> float:
        """Initial learning rate: the setting times the number of gates, as one of many gates changes the loss less."""
        return self.settings.lr * len(self.values)

    @property
    def by_part(self) -> dict[str, Tensor]:
        """The gates' values: part name -> (units,), views of `values`."""
        values = self.values.detach().split(self._sizes)
        return {part.name: of_part for part, of_part in zip(self._channels.parts, values, strict=True)}

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Multiply the network's channels by their gates within the context: by TG in training mode, b in eval mode."""
        with attached(self._channels, self._factors):
            yield

    def _factors(self) -> Tensor:
        """Return what multiplies the channels of each unit: (units,)."""
        return self.trainable() if self._channels.model.training else is_open(self.values).float()

    def trainable(self) -> Tensor:
        """Compute TG of all units: (units,) in the order of the parts, in float32 also under autocast."""
        with torch.autocast(self.values.device.type, enabled=False):
            return trainable_gate(self.values, SHAPINGS[self.settings.shaping], self.settings.resolution)

    def ratio(self) -> Tensor:
        """Compute the gated network's cost over the dense network's cost, as a differentiable scalar."""
        return self._cost(self.trainable().double() @ self._one_hot) / self._dense_cost

    def penalty(self) -> Tensor:
        """Compute the loss term lambda |target - ratio|^p, a scalar in float32."""
        return (self.settings.strength * (self._target - self.ratio()).abs() ** self.settings.power).float()

    @torch.no_grad()
    def step_to_target(self, done: float) -> None:
        """Move the values so that the cost meets the current target, after each step of training (ours).

        done: fraction of the gates' training that is over. The target falls linearly from 1 to the budget until
        `SLIDES`. The values move along the gradient of the cost, until as many gates are open as the target allows.
        This is a gradient step on lambda |target - ratio| with exactly the lambda that meets the target. With a fixed
        lambda, it depends on the learning rate of the weights whether the target is met. The number of open gates of
        each part stays within the part's bounds. Values are clamped to [0, 1].
        """
        target = 1.0 - (1.0 - self._target) * min(1.0, done / SLIDES)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.ratio(), self.values)
        reach = (self.values - OPENS) / slope  # the step size at which a gate closes
        reach, order = self._within_bounds(reach).sort(descending=True, stable=True)
        costs = self._cost(self._one_hot[order].cumsum(0))  # with the first 1, 2, ... gates open
        count = (costs <= round(target * self._dense_cost)).sum().clamp(self._least_open, self._most_open)
        with_end = torch.cat((reach, reach.new_full((1,), -torch.inf)))
        last_open, first_closed = with_end[torch.stack((count - 1, count))]
        self.values.sub_(slope * first_closed.clamp(min=0.0).minimum(last_open))
        opens = torch.arange(len(order), device=order.device) < count
        now_open = torch.empty_like(self._was_open).scatter_(0, order, opens)
        lowest = 0.5 / self.settings.resolution  # the middle of the last tooth: TG = 0 would stop gradients at a ReLU
        self.values.copy_(torch.where(now_open, self.values.clamp(OPENS, 1.0), self.values.clamp(lowest, CLOSED)))
        self._flips += (now_open != self._was_open).sum()
        self._was_open.copy_(now_open)

    def _within_bounds(self, reach: Tensor) -> Tensor:
        """Give an infinite reach to the gates of greatest reach in each part, which stay open, and -inf to the last."""
        falling = reach.argsort(descending=True, stable=True)
        by_part = falling[self._parts[falling].argsort(stable=True)]
        bounds = torch.empty_like(self._bounds).scatter_(0, by_part, self._bounds)
        return torch.where(bounds == 0, reach, bounds.to(reach.dtype))

    def report(self) -> GatesReport:
        """Report the open gates, the flips since the last report, and the cost ratio. Resets the count of flips."""
        counts = {name: int(is_open(values).sum()) for name, values in self.by_part.items()}
        cost = self._channels.cost(np.array(list(counts.values())), self._budget)
        report = GatesReport(open=counts, flips=int(self._flips), ratio=cost / self._dense_cost)
        self._flips.zero_()
        return report
