"""The allocation policies by name, and the one way to run them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.allocation.budget import Path, floors, spend, total
from trainables.allocation.capacity import capacity
from trainables.allocation.capacity_readings import coding, energy, functional, information
from trainables.allocation.from_profiles import rdp, rdp_worst, sensitivity
from trainables.allocation.from_shapes import ends_kept, erk, given, igq, searched, uniform, uniform_plus
from trainables.allocation.problem import Problem
from trainables.allocation.random_draws import random, random_best
from trainables.allocation.ranked import gates, gates_joint, global_magnitude, isomorphic, lamp, own_scores, snip
from trainables.allocation.spectral import alpha_pruning
from trainables.allocation.synflow import synflow
from trainables.names import GATES_JOINT, GIVEN, SEARCHES
from trainables.own_function import is_external
from trainables.plugins import load
from trainables.pruning.granularity import Counts, Prunable


@dataclass(frozen=True)
class Policy:
    """A rule that turns a problem into a path to spend the budget along; `names.POLICY_NEEDS` says what it needs."""

    path: Callable[[Problem], Path]
    least: Callable[[Prunable], Counts] = floors  # (parts,) units that it keeps at any sparsity


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
    "uniform-plus": Policy(uniform_plus, least=ends_kept),
    "random": Policy(random),
    "random-best": Policy(random_best),
    "erk": Policy(erk),
    "igq": Policy(igq),
    "global": Policy(global_magnitude),
    "by-score": Policy(own_scores),
    "isomorphic": Policy(isomorphic),
    "lamp": Policy(lamp),
    "snip": Policy(snip),
    "synflow": Policy(synflow),
    "alpha-pruning": Policy(alpha_pruning),
    "gates": Policy(gates),
    GATES_JOINT: Policy(gates_joint),
    "sensitivity": Policy(sensitivity),
    "rdp": Policy(rdp),
    "rdp-worst": Policy(rdp_worst),
    "capacity": Policy(capacity),
    "capacity-energy": Policy(energy),
    "capacity-coding": Policy(coding),
    "capacity-functional": Policy(functional),
    "capacity-information": Policy(information),
    **dict.fromkeys(SEARCHES, Policy(searched)),
    GIVEN: Policy(given),
}


def policy(name: str) -> Policy:
    """Find a policy: one of the catalog, or a function of the user's own. Raises ValueError as `plugins.load`."""
    return Policy(load("policy", name)) if is_external(name) else POLICIES[name]
