"""Criteria: one score for each unit of a granularity; the units of lowest score go first."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.pruning.granularity import Prunable
from trainables.pruning.layers import weight_of
from trainables.spec import GranularityName

Scores = dict[str, Tensor]  # part name -> (units,), finite


@dataclass(frozen=True)
class Criterion:
    """A scoring function and the granularities that it means something for."""

    score: Callable[[Prunable, int], Scores]
    granularities: tuple[GranularityName, ...]


def l1(prunable: Prunable, seed: int) -> Scores:
    """Sum of absolute weights of a unit (Li et al., arXiv 1608.08710); for a single weight, its magnitude."""
    return {name: unit.abs().sum(1) for name, unit in prunable.members(weight_of).items()}


def l2(prunable: Prunable, seed: int) -> Scores:
    """Euclidean norm of a unit's weights."""
    return {name: unit.norm(dim=1) for name, unit in prunable.members(weight_of).items()}


def random(prunable: Prunable, seed: int) -> Scores:
    """Control: uniform noise, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    return {part.name: torch.rand(part.units, generator=generator) for part in prunable.parts}


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(l1, ("weight",)),
    "l1": Criterion(l1, ("channel",)),
    "l2": Criterion(l2, ("channel",)),
    "random": Criterion(random, ("weight", "channel")),
}
