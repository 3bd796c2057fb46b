"""Policies that read shapes only, or densities from a search."""

import numpy as np

from trainables.allocation.budget import Path, dense_counts, floors, proportional
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts, Prunable


def uniform(problem: Problem) -> Path:
    """Give every part the same density."""
    return proportional(problem.prunable.parts, np.ones(len(problem.prunable.parts)))


def uniform_plus(problem: Problem) -> Path:
    """Uniform, but the first layer stays dense and the last one loses 80 % at most (Uniform+, code of LAMP and IGQ).

    The other layers make up for both. `ends_kept` says what the first and the last layer keep.
    """
    return uniform(problem)


def ends_kept(prunable: Prunable) -> Counts:
    """Return all units of the first part, a fifth of the last part (in module order), and the floor of every other."""
    units = dense_counts(prunable)
    least = floors(prunable)
    least[-1] = max(least[-1], -(-units[-1] // 5))
    least[0] = units[0]
    return least


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

    Raises ValueError that names the missing and the unknown parts.
    """
    names = [part.name for part in problem.prunable.parts]
    given = problem.densities or {}
    if set(given) != set(names):
        raise ValueError(
            f"densities must name every part once, but {sorted(set(names) - set(given))} are missing "
            f"and {sorted(set(given) - set(names))} are unknown"
        )
    return proportional(problem.prunable.parts, np.array([given[name] for name in names]))
