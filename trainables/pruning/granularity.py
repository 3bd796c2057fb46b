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
    floor: int  # fewest units that may be kept
    layers: tuple[Layer, ...]  # those whose weights the units are made of
    multiple: int = 1  # the number of kept units is a multiple of this, or all units are kept


class Prunable(Protocol):
    """A network seen at one granularity."""

    model: nn.Module
    example: Tensor  # (1, C, H, W) on its device
    parts: tuple[Part, ...]

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the prunable weights, or multiply-accumulates for one image, of the network with these units kept."""

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather what belongs to each unit: part name -> (units, elements)."""

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Make the network compute as if only `kept_units` were left, in place and at its full shape.

        kept_units: part name -> sorted unit indices; a part that it does not name stays whole. Weights are zeroed or
        modules are skipped. The caller restores zeroed weights; `unmask` restores skipped modules.
        """

    def unmask(self) -> None:
        """Run the modules again that `mask` skips."""

    def remove(self, kept_units: Mapping[str, Tensor]) -> Masks:
        """Remove all other units in place; return the masks of the weights that are left.

        kept_units: part name -> sorted unit indices; a part that it does not name stays whole.
        """


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
