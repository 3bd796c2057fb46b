"""Capacity: each layer's sparsity from its measured importance, after "How Compact?" (arXiv 1901.02757).

The open text of that paper fixes the idea, not the formula. These are our readings of it, not the paper's formula.
"""

import numpy as np
import torch

from trainables.allocation.budget import Path, proportional, ranked
from trainables.allocation.problem import Problem
from trainables.pruning.layers import weight_of


def energy(problem: Problem) -> Path:
    """Reading C1: the capacity that a part uses is its squared weights; lose the same marginal share of it everywhere.

    A unit's score is its squared norm over that of its whole part, and one threshold holds for all parts. Data-free.
    """
    shares = []
    for unit in problem.prunable.members(weight_of).values():
        squares = unit.double().square().sum(1)
        share = squares / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
        shares.append(share.sort().values.cpu().numpy())
    return ranked(problem.prunable.parts, shares)


def functional(problem: Problem) -> Path:
    """Reading C3: density proportional to the importance I = integral over s of 1 - A(s)/A(0), by trapezoid.

    A(s) is the accuracy on calibration samples with only this part pruned to sparsity s.
    """
    profile = problem.measured
    accuracy = np.array([profile.accuracy[part.name] for part in problem.prunable.parts])
    damage = 1.0 - accuracy / max(profile.dense_accuracy, 1e-12)
    importance = np.trapezoid(damage, profile.levels, axis=1)
    return proportional(problem.prunable.parts, np.maximum(importance, 1e-3))
