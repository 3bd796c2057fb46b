"""The allocation policies by name, and the one way to run them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.allocation.budget import Path, spend, total
from trainables.allocation.capacity import energy, functional
from trainables.allocation.heuristics import erk, random, searched, uniform
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts
from trainables.spec import BudgetKind


@dataclass(frozen=True)
class Policy:
    """A rule that turns a problem into a path, and whether it needs the layers' profile."""

    path: Callable[[Problem], Path]
    profiled: bool = False


def allocate(policy: Policy, problem: Problem, sparsity: float, kind: BudgetKind) -> dict[str, int]:
    """Spend the budget that `sparsity` leaves: part name -> units to keep. Sparsity 0 keeps all."""
    prunable = problem.prunable
    keep: Counts = spend(policy.path(problem), prunable, total(prunable, sparsity, kind), kind)
    return {part.name: int(units) for part, units in zip(prunable.parts, keep, strict=True)}


POLICIES: Mapping[str, Policy] = {
    "uniform": Policy(uniform),
    "random": Policy(random),
    "erk": Policy(erk),
    "capacity": Policy(energy),
    "capacity-functional": Policy(functional, profiled=True),
    "searched": Policy(searched),
}
