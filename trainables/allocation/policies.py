"""The allocation policies by name, and the one way to run them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.allocation.budget import Path, spend
from trainables.allocation.capacity import energy, functional
from trainables.allocation.heuristics import erk, random, searched, uniform
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts
from trainables.spec import GranularityName


@dataclass(frozen=True)
class Policy:
    """A rule that turns a problem into a path to spend the budget along, and what it needs to know."""

    path: Callable[[Problem], Path]
    granularities: tuple[GranularityName, ...] = ("weight", "channel")
    calibrated: bool = False  # looks at calibration samples
    profiled: bool = False  # looks at the profile


def allocate(policy: Policy, problem: Problem) -> dict[str, int]:
    """Spend the problem's budget: part name -> units to keep. Sparsity 0 keeps all."""
    prunable = problem.prunable
    keep: Counts = spend(policy.path(problem), prunable, problem.total, problem.budget)
    return {part.name: int(units) for part, units in zip(prunable.parts, keep, strict=True)}


POLICIES: Mapping[str, Policy] = {
    "uniform": Policy(uniform),
    "random": Policy(random),
    "erk": Policy(erk),
    "capacity": Policy(energy),
    "capacity-functional": Policy(functional, profiled=True),
    "searched": Policy(searched),
}
