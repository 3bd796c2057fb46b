"""Policies that look at shapes only, or at densities found elsewhere."""

import numpy as np

from trainables.allocation.budget import Path, dense_counts, floors, proportional
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts, Prunable


def uniform(problem: Problem) -> Path:
    """Give every part the same density."""
    return proportional(problem.prunable.parts, np.ones(len(problem.prunable.parts)))


def uniform_plus(problem: Problem) -> Path:
    """Uniform, but the first layer stays dense and the last one loses 80 % at most (Uniform+, code of LAMP and IGQ).

    The other layers make up for both; `ends_kept` has what the first and the last one keep.
    """
    return uniform(problem)


def ends_kept(prunable: Prunable) -> Counts:
    """All of the first part and a fifth of the last, in module order; of every other part its floor."""
    units = dense_counts(prunable)
    least = floors(prunable)
    least[-1] = max(least[-1], -(-units[-1] // 5))
    least[0] = units[0]
    return least


def erk(problem: Problem) -> Path:
    """Erdos-Renyi-Kernel (RigL, arXiv 1911.11134): density as a weight's summed extents over their product.

    A part of several coupled layers takes their joint ratio. The dense clamp and its re-solving are the budget's.
    """
    ratios = [
        sum(sum(layer.shape) for layer in p.layers) / sum(layer.size for layer in p.layers)
        for p in problem.prunable.parts
    ]
    return proportional(problem.prunable.parts, np.array(ratios))


def igq(problem: Problem) -> Path:
    """Ideal-gas quotas: density 1 / (1 + F N) of a part of N weights (Vysogorets & Kempe, JMLR 24(99), 2023).

    One F >= 0 holds for all parts. The N of a group of channels is that of the filters which produce them: our reading.
    """
    units = dense_counts(problem.prunable)
    sizes = np.array([sum(layer.size for layer in part.layers) for part in problem.prunable.parts])
    return lambda scale: units / (1.0 + sizes / scale)


def searched(problem: Problem) -> Path:
    """Spend in proportion to what a search proposes for each part; `random-search` is its control, which draws blindly.

    Raises ValueError with the parts that are missing or unknown.
    """
    names = [part.name for part in problem.prunable.parts]
    given = problem.densities or {}
    if set(given) != set(names):
        raise ValueError(
            f"densities must name every part once, but missing are {sorted(set(names) - set(given))} "
            f"and unknown are {sorted(set(given) - set(names))}"
        )
    return proportional(problem.prunable.parts, np.array([given[name] for name in names]))
