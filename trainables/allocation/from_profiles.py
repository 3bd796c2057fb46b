"""Policies that read a profile: what the network loses when one part alone is pruned, level by level."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trainables.allocation.budget import Path, dense_counts
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import levels_within

BINS = 8192  # steps of the budget in the dynamic programme
_SLOPE = 1e-9  # added fall of accuracy from sparsity 0 to 1


def sensitivity(problem: Problem) -> Path:
    """Prune each part until accuracy falls by T when that part alone is pruned; one T for all (US 11,556,795 B2).

    Ours: the curve between two measured counts of units is straight, and its running maximum makes it rise. All counts
    of a plateau have the same T; the smallest one is taken, unless the budget ends within the plateau.
    """
    profile = problem.measured
    curves = []
    for part in problem.prunable.parts:
        index, units = levels_within(part, profile.levels)
        kept, first = np.unique(-units, return_index=True)
        loss = np.maximum(profile.dense_accuracy - np.array(profile.accuracy[part.name])[index][first], 0.0)
        rising = np.maximum.accumulate(loss) + _SLOPE * (1.0 + kept / part.units)  # strictly, so it has an inverse
        curves.append((rising, -kept))
    return lambda scale: np.array([np.interp(1.0 / scale, loss, kept) for loss, kept in curves])


def rdp(problem: Problem) -> Path:
    """Least sum of distortions, each the mean squared change of the logits when one part alone is pruned (RDP).

    Xu et al. (ICCV 2023) choose each part's sparsity from {0, 0.01, ..., 1} by dynamic programming.
    """
    return _least_sum(problem, problem.measured.distortion)


def rdp_worst(problem: Problem) -> Path:
    """Least sum of distortions as `rdp`, but of the sample whose logits change most: how the authors run RDP."""
    return _least_sum(problem, problem.measured.worst_distortion)


def _least_sum(problem: Problem, curves: Mapping[str, tuple[float, ...]]) -> Path:
    """Solve for every budget up to the problem's, and make a path of the solutions; the counted budget picks one.

    A part keeps one of the counts that were measured. Ours: the rest of a budget goes to the parts that get more in the
    next solution. The price of a unit is its price in the dense network. That is exact for weights. For channels, whose
    costs are products of widths, it only puts the solutions in order: the counted cost decides, so all budgets are
    solved.
    """
    prunable = problem.prunable
    units = dense_counts(prunable)
    dense = prunable.cost(units, problem.budget)
    prices = np.array([dense - prunable.cost(units - one, problem.budget) for one in np.eye(len(units), dtype=int)])
    within = [levels_within(part, problem.measured.levels) for part in prunable.parts]
    index, keep = (np.array(of_parts) for of_parts in zip(*within, strict=True))  # (parts, levels) each
    whole = int(prices @ units)
    most = problem.total if whole == dense else whole
    bin_size = max(1, -(-most // (BINS - len(units))))
    costs = -(-keep * prices[:, None] // bin_size)  # (parts, levels) in bins, rounded up
    bins = min(-(-most // bin_size) + len(units), int(costs.max(1).sum()))  # each part may round up by a bin
    distortions = np.take_along_axis(np.array([curves[part.name] for part in prunable.parts]), index, axis=1)
    answers = np.take_along_axis(keep, cheapest(distortions, costs, bins), axis=1)  # (parts, budgets)
    first = int(costs.min(1).sum())
    changes = np.flatnonzero((np.diff(answers) != 0).any(0)) + 1

    def path(scale: float) -> NDArray[np.float64]:
        """Return (parts,) units for a scale, which is the budget in bins."""
        at = min(max(int(scale) - first, 0), answers.shape[1] - 1)
        following = changes[np.searchsorted(changes, at, side="right") :][:1]  # none after the last
        more = (answers[:, following].sum(1) - answers[:, at]).clip(0)
        left = scale * bin_size - prices @ answers[:, at]
        further: NDArray[np.float64] = answers[:, at] + min(max(left / max(prices @ more, 1), 0.0), 1.0) * more
        return further

    return path


def cheapest(distortions: NDArray[np.float64], costs: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Choose one level for each part and budget: the least sum of distortions whose costs fit the budget.

    distortions, costs >= 0: (parts, levels). Returns (parts, budgets) levels for all budgets from the cost of the
    cheapest levels to `most`, which is not below it. Among equal sums the first level wins. Unlike in the public code,
    the distortion of every part counts at every budget, and no budget is exceeded.
    """
    budgets = most + 1
    least = np.zeros(budgets)  # no parts, no distortion
    chosen = np.full((len(costs), budgets), -1, dtype=np.int64)  # a part's level, where it is the last of the parts
    for part, levels in enumerate(zip(distortions, costs, strict=True)):
        with_part = np.full(budgets, np.inf)
        for level, (distortion, cost) in enumerate(zip(*levels, strict=True)):
            if cost > most:
                continue
            candidate = least[: budgets - cost] + distortion
            better = candidate < with_part[cost:]
            with_part[cost:][better] = candidate[better]
            chosen[part, cost:][better] = level
        least = with_part
    left = np.arange(costs.min(1).sum(), budgets)
    answers = np.empty((len(costs), len(left)), dtype=np.int64)
    for part in reversed(range(len(costs))):
        answers[part] = chosen[part, left]
        left = left - costs[part, answers[part]]
    return answers
