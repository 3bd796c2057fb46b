"""Policies that look at shapes only, at chance, or at densities found elsewhere."""

import numpy as np

from trainables.allocation.budget import Path, proportional
from trainables.allocation.problem import Problem

SMALLEST_RANDOM_DENSITY = 0.1  # our choice; Li et al. do not state theirs


def uniform(problem: Problem) -> Path:
    """Give every part the same density."""
    return proportional(problem.prunable.parts, np.ones(len(problem.prunable.parts)))


def random(problem: Problem) -> Path:
    """Control: relative densities from U(0.1, 1), the same for a seed (after Li et al., CVPR 2022; sampler ours)."""
    draw = np.random.default_rng(problem.subject.seed).uniform(
        SMALLEST_RANDOM_DENSITY, 1.0, len(problem.prunable.parts)
    )
    return proportional(problem.prunable.parts, draw)


def erk(problem: Problem) -> Path:
    """Erdos-Renyi-Kernel (RigL, arXiv 1911.11134): density as a weight's summed extents over their product.

    A part of several coupled layers takes their joint ratio. The dense clamp and its re-solving are the budget's.
    """
    ratios = [
        sum(sum(layer.shape) for layer in p.layers) / sum(layer.size for layer in p.layers)
        for p in problem.prunable.parts
    ]
    return proportional(problem.prunable.parts, np.array(ratios))


def searched(problem: Problem) -> Path:
    """Relative densities proposed from outside, one for each part; ValueError names those missing or unknown."""
    names = [part.name for part in problem.prunable.parts]
    given = problem.densities or {}
    if set(given) != set(names):
        raise ValueError(
            f"densities must name every part once, but missing are {sorted(set(names) - set(given))} "
            f"and unknown are {sorted(set(given) - set(names))}"
        )
    return proportional(problem.prunable.parts, np.array([given[name] for name in names]))
