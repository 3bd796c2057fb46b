"""What a unit of pruning is: one weight, or one channel with all that must go along with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.layers import Layer, Masks
from trainables.spec import BudgetKind

Counts = NDArray[np.int64]  # (parts,) units kept of each part
Read = Callable[[nn.Module], Tensor]  # module -> a tensor of its weight's shape


@dataclass(frozen=True)
class Part:
    """What a policy gives a share of the budget: one layer's weights, a group of coupled channels, equal blocks."""

    name: str
    units: int
    floor: int  # fewest units that may stay
    layers: tuple[Layer, ...]  # those whose weights the units are made of
    multiple: int = 1  # of which the units that stay are one, unless all do


class Prunable(Protocol):
    """A network seen at one granularity."""

    model: nn.Module
    example: Tensor  # (1, C, H, W) on its device
    parts: tuple[Part, ...]

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the prunable weights, or multiply-accumulates for one image, of the network with these units kept."""

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather what belongs to each unit: part name -> (units, elements)."""

    def mask(self, keep: Mapping[str, Tensor]) -> None:
        """Zero weights or skip modules so that the network computes as without all units but `keep`, at its full shape.

        keep: part name -> sorted unit indices; parts that it leaves out stay whole. In place: zeroed weights are the
        caller's to bring back.
        """

    def unmask(self) -> None:
        """Run all modules again that `silence` skips."""

    def remove(self, keep: Mapping[str, Tensor]) -> Masks:
        """Remove all units but `keep` (part name -> sorted unit indices) in place; return what must stay masked."""


def top_units(scores: Tensor, keep: int) -> Tensor:
    """Pick the `keep` units of highest score, sorted by position; of equal scores the first ones stay.

    scores: (units,). Returns (keep,) indices.
    """
    if keep == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    threshold = scores.kthvalue(len(scores) - keep + 1).values
    stays = scores > threshold
    ties = (scores == threshold).nonzero().flatten()
    stays[ties[: keep - int(stays.sum())]] = True
    return stays.nonzero().flatten()
