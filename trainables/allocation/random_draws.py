"""Controls: one random allocation, or the best of many."""

from dataclasses import replace

import numpy as np

from trainables.allocation.budget import Path, proportional, spend
from trainables.allocation.candidates import candidates
from trainables.allocation.problem import Problem

SMALLEST = 0.1  # relative density; our choice, as Li et al. do not state theirs
DRAWS = 150  # about as many as capacity measures for twenty parts
COMPENSATED_DRAWS = 50  # the same where the trial compensates


def random(problem: Problem) -> Path:
    """Control: relative densities from U(0.1, 1), the same for a seed (after Li et al., CVPR 2022; sampler ours)."""
    parts = problem.prunable.parts
    draw = np.random.default_rng(problem.context.seed).uniform(SMALLEST, 1.0, len(parts))
    return proportional(parts, draw)


def random_best(problem: Problem) -> Path:
    """Control: the best of many such draws by the measure of capacity, at about its cost (best of K, as Li et al.)."""
    draws = COMPENSATED_DRAWS if problem.compensated else DRAWS
    first = draws * problem.context.seed
    contexts = [replace(problem.context, seed=seed) for seed in range(first, first + draws)]
    drawn = [
        spend(random(replace(problem, context=context)), problem.prunable, problem.total, problem.budget)
        for context in contexts
    ]
    with candidates(problem) as loss:
        keep = min(drawn, key=loss)
    return lambda scale: scale * keep.astype(np.float64)
