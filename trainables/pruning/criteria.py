"""Criteria: one score for each unit of a granularity; the units of lowest score go first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.pruning.layers import weight_of
from trainables.pruning.subject import Subject
from trainables.spec import GranularityName

Scores = Mapping[str, Tensor]  # part name -> (units,), finite


@dataclass(frozen=True)
class Criterion:
    """A scoring function, the granularities that it means something for, and whether it needs calibration samples."""

    score: Callable[[Subject], Scores]
    granularities: tuple[GranularityName, ...] = ("weight", "channel")
    calibrated: bool = False


def l1(subject: Subject) -> Scores:
    """Sum of absolute weights of a unit (Li et al., arXiv 1608.08710); for a single weight, its magnitude."""
    return {name: unit.abs().sum(1) for name, unit in subject.prunable.members(weight_of).items()}


def l2(subject: Subject) -> Scores:
    """Euclidean norm of a unit's weights."""
    return {name: unit.norm(dim=1) for name, unit in subject.prunable.members(weight_of).items()}


def random(subject: Subject) -> Scores:
    """Control: uniform noise, the same for a seed."""
    generator = torch.Generator().manual_seed(subject.seed)
    return {part.name: torch.rand(part.units, generator=generator) for part in subject.prunable.parts}


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(l1, ("weight",)),
    "l1": Criterion(l1, ("channel",)),
    "l2": Criterion(l2, ("channel",)),
    "random": Criterion(random),
}
