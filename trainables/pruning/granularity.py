"""Units of pruning: a weight, a channel with everything coupled to it, or a block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.arguments import Arguments
from trainables.models.layers import Layer, Masks
from trainables.pruning.held import Held
from trainables.pruning.latency_cost import LatencyCost, LatencyTerms
from trainables.spec import BudgetKind

Counts = NDArray[np.int64]  # (parts,) number of kept units of each part
Read = Callable[[str], Tensor]  # parameter name -> a tensor of its shape


@dataclass(frozen=True)
class Part:
    """Units that share one density: the weights of a layer, a group of coupled channels, or equal blocks.

    A policy decides how many units of each part stay; a criterion decides which ones.
    """

    name: str  # of its first layer or block
    units: int  # number of units
    floor: int  # the fewest units that the network needs
    layers: tuple[Layer, ...]  # layers that hold the weights of the units
    multiple: int = 1  # the number of kept units is a multiple of this, or all units are kept
    readers: tuple[Layer, ...] = ()  # other layers that lose weights with the units, as they read their channels
    bounds: tuple[int, int] | None = None  # the fewest and the most units that a rule lets it keep
    kind: str = ""  # what its units consist of; scores of units of one kind are on one scale

    @property
    def least(self) -> int:
        """The fewest units that an allocation may give it."""
        return self.bounds[0] if self.bounds else self.floor

    @property
    def most(self) -> int:
        """The most units that an allocation may give it."""
        return self.bounds[1] if self.bounds else self.units

    @property
    def is_free(self) -> bool:
        """Whether no rule fixes the number of units that it keeps."""
        return self.bounds is None or self.least < self.most


@dataclass(frozen=True)
class Cut:
    """What a pruning leaves of the layers of a network."""

    masks: Masks = field(default_factory=dict)  # of parameters of unchanged shape
    outputs: Mapping[str, Tensor] = field(default_factory=dict)  # narrower layer -> (kept,) sorted output channels


class Prunable(Protocol):
    """A network seen at one granularity."""

    model: nn.Module
    parts: tuple[Part, ...]
    latency: LatencyCost | None  # None: not measured

    @property
    def example(self) -> Arguments:
        """One input (1, ...) on the network's device."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of the network, also those of no part."""

    @property
    def macs_fixed(self) -> int:
        """The multiply-accumulates for one image of products without weights, which no mask saves."""

    @property
    def held(self) -> Held:
        """What cannot be pruned."""

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights of the layers, or all multiply-accumulates for one image, with `keep` units kept.

        Latency is in picoseconds.
        """

    def latency_terms(self) -> LatencyTerms:
        """Say what the latency of the network grows with."""

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the elements of each unit from the tensors that `read` returns: part name -> (units, elements).

        `model.get_parameter` reads the weights themselves.
        """

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Make the network compute as after `remove`, in place and at its full shape.

        kept_units: part name -> (kept,) sorted unit indices; parts without an entry keep all units. Weights are zeroed
        or modules are skipped. The caller restores zeroed weights; `unmask` restores skipped modules.
        """

    def unmask(self) -> None:
        """Run the modules again that `mask` made the network skip."""

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Remove all units but `kept_units` in place.

        kept_units: part name -> (kept,) sorted unit indices; parts without an entry keep all units.
        """


def top_units(scores: Tensor, keep: int) -> Tensor:
    """Pick the `keep` units of highest score; among equal scores, the first ones.

    scores: (units,). Returns (keep,) indices in rising order.
    """
    if keep == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    threshold = scores.kthvalue(len(scores) - keep + 1).values
    kept = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    kept[ties[: keep - int(kept.sum())]] = True
    return kept.nonzero().flatten()
