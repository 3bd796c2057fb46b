"""The allocation policies by name, and the one way to run them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from trainables.allocation.budget import Path, floors, spend, total
from trainables.allocation.capacity import capacity
from trainables.allocation.capacity_readings import coding, energy, functional, information
from trainables.allocation.from_profiles import rdp, rdp_worst, sensitivity
from trainables.allocation.from_shapes import ends_kept, erk, igq, searched, uniform, uniform_plus
from trainables.allocation.problem import Problem
from trainables.allocation.random_draws import random, random_best
from trainables.allocation.ranked import gates, gates_joint, global_magnitude, lamp, own_scores, snip
from trainables.allocation.spectral import alpha_pruning
from trainables.allocation.synflow import synflow
from trainables.names import SEARCHES, GranularityName, Source
from trainables.pruning.granularity import Counts, Prunable


@dataclass(frozen=True)
class Policy:
    """A rule that turns a problem into a path along which the budget is spent, and what the rule reads."""

    path: Callable[[Problem], Path]
    granularities: tuple[GranularityName, ...] = get_args(GranularityName)
    inputs: tuple[Source, ...] = ()
    least: Callable[[Prunable], Counts] = floors  # (parts,) units that it keeps at any sparsity
    joint: bool = False  # gates pick the units, and recovery goes on from the weights trained with them


def allocate(policy: Policy, problem: Problem) -> dict[str, int]:
    """Spend the problem's budget: part name -> units to keep. Sparsity 0 keeps all.

    Raises ValueError where the policy keeps more than the budget at any sparsity.
    """
    prunable, least = problem.prunable, policy.least(problem.prunable)
    budget = total(prunable, problem.sparsity, problem.budget, least)
    keep = spend(policy.path(problem), prunable, budget, problem.budget, least)
    return {part.name: int(units) for part, units in zip(prunable.parts, keep, strict=True)}


POLICIES: Mapping[str, Policy] = {
    "uniform": Policy(uniform),
    "uniform-plus": Policy(uniform_plus, ("weight",), least=ends_kept),
    "random": Policy(random),
    "random-best": Policy(random_best, inputs=("samples",)),
    "erk": Policy(erk),
    "igq": Policy(igq),
    "global": Policy(global_magnitude),
    "by-score": Policy(own_scores),
    "lamp": Policy(lamp),
    "snip": Policy(snip, inputs=("samples",)),
    "synflow": Policy(synflow),
    "alpha-pruning": Policy(alpha_pruning),
    "gates": Policy(gates, ("channel",), inputs=("gates",)),
    "gates-joint": Policy(gates_joint, ("channel",), inputs=("gates",), joint=True),
    "sensitivity": Policy(sensitivity, inputs=("profile",)),
    "rdp": Policy(rdp, inputs=("profile",)),
    "rdp-worst": Policy(rdp_worst, inputs=("profile",)),
    "capacity": Policy(capacity, inputs=("samples",)),
    "capacity-energy": Policy(energy),
    "capacity-coding": Policy(coding),
    "capacity-functional": Policy(functional, inputs=("profile",)),
    "capacity-information": Policy(information, inputs=("samples",)),
    **dict.fromkeys(SEARCHES, Policy(searched)),
}
