"""Policies that read shapes only, or densities from a search."""

import numpy as np

from trainables.allocation.budget import Path, ceilings, dense_counts, floors, proportional
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts, Prunable
from trainables.pruning.held import some


def uniform(problem: Problem) -> Path:
    """Give every part the same density."""
    return proportional(problem.prunable.parts, np.ones(len(problem.prunable.parts)))


def uniform_plus(problem: Problem) -> Path:
    """Uniform, but the first layer stays dense and the last one loses 80 % at most (Uniform+, code of LAMP and IGQ).

    The other layers make up for both. `ends_kept` says what the first and the last layer keep.
    """
    return uniform(problem)


def ends_kept(prunable: Prunable) -> Counts:
    """Return all units of the first part, a fifth of the last part (in module order), and the floor of every other.

    No part keeps more than its ceiling, as rules for layers come first.
    """
    units = dense_counts(prunable)
    least = floors(prunable)
    least[-1] = max(least[-1], -(-units[-1] // 5))
    least[0] = units[0]
    return np.minimum(least, ceilings(prunable))


def erk(problem: Problem) -> Path:
    """Erdos-Renyi-Kernel (RigL, arXiv 1911.11134): density as a weight's summed extents over their product.

    A part of several coupled layers takes their joint ratio. `spend` clamps parts at full density and shares the rest.
    """
    ratios = [
        sum(sum(layer.shape) for layer in p.layers) / sum(layer.size for layer in p.layers)
        for p in problem.prunable.parts
    ]
    return proportional(problem.prunable.parts, np.array(ratios))


def igq(problem: Problem) -> Path:
    """Ideal-gas quotas: density 1 / (1 + F N) of a part of N weights (Vysogorets & Kempe, JMLR 24(99), 2023).

    One F >= 0 holds for all parts. Our reading for channels: N counts the weights of the filters that produce them.
    """
    units = dense_counts(problem.prunable)
    sizes = np.array([sum(layer.size for layer in part.layers) for part in problem.prunable.parts])
    return lambda scale: units / (1.0 + sizes / scale)


def searched(problem: Problem) -> Path:
    """Relative densities that a search proposes. The control `random-search` draws them at random.

    Parts whose units a rule fixes need none. Raises ValueError that names the missing and the unknown parts.
    """
    parts = problem.prunable.parts
    densities = problem.densities or {}
    missing = [part.name for part in parts if part.is_free and part.name not in densities]
    unknown = sorted(set(densities) - {part.name for part in parts})
    if missing or unknown:
        faults = {"are missing": missing, "are unknown": unknown}
        found = " and ".join(f"{some(names)} {fault}" for fault, names in faults.items() if names)
        raise ValueError(f"densities must name every part of the network once, but {found}; correct the names")
    return proportional(parts, np.array([densities.get(part.name, 1.0) for part in parts]))


def given(problem: Problem) -> Path:
    """Densities of a table, or of a trial of another study. One factor scales all of them to the budget.

    Densities that have the problem's budget stay as they are. Raises ValueError as `searched` does.
    """
    return searched(problem)
