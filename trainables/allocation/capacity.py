"""Capacity: share the budget until a unit of it is worth the same in every part of the network that will be used.

This is our reading of "How Compact?" (arXiv 1901.02757). Its open text gives the idea and not the formula: the
importance of a layer is its capacity, and sparsities follow from it without training. Here the capacity of a part is
what the whole network loses or gains when that part alone gets less or more than in the current allocation.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trainables.allocation.budget import Path, ceilings, floors, spend
from trainables.allocation.candidates import candidates
from trainables.allocation.from_shapes import erk, igq, uniform
from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.problem import Problem
from trainables.allocation.ranked import global_magnitude, lamp
from trainables.allocation.trained_loss import TrainedLoss
from trainables.pruning.granularity import Counts

Floats = NDArray[np.float64]

STARTS = (uniform, erk, igq, global_magnitude, lamp)  # the best one is refined
SPEECHLESS = 0.99  # of the loss with all parts at their floors; a network that loses more says nothing
STEP = 0.5  # capacity is measured by changing one part's units by exp(+-STEP)
REACH = 0.7  # one exchange changes a part by exp(+-REACH) at most
EXCHANGES = 100  # random exchanges, tried after the measured one


def capacity(problem: Problem) -> Path:
    """Share the budget by measured capacity: start from the best data-free rule, equalise marginal losses, exchange.

    It reads calibration samples without their labels. It measures the network as the trial will use it: as pruned,
    recalibrated or compensated, and at last after a short training, if the trial trains. A network that says nothing at
    any start is measured as if it were recalibrated. All of this is ours.
    """
    prunable = problem.prunable
    starts = [spend(rule(problem), prunable, problem.total, problem.budget) for rule in STARTS]
    if not problem.recalibrated and _is_speechless(problem, starts):
        problem = replace(problem, recalibrated=True)
    with candidates(problem) as loss:
        keep = min(starts, key=loss)
        keep = equalised(problem, keep, loss)
        if not (problem.compensated or problem.training):  # where they gain nothing (RESULTS.md)
            keep = exchanged(problem, keep, loss)
        if problem.training:  # what is best before training need not be best after it
            keep = after_training(problem, [keep, *starts], TrainedLoss(problem, loss, problem.training))
    return lambda scale: scale * keep.astype(np.float64)


def _is_speechless(problem: Problem, starts: list[Counts]) -> bool:
    """Tell whether the pruned network says as little from every start as with all parts at their floors."""
    with candidates(problem) as loss:
        silent = np.array([part.floor for part in problem.prunable.parts], dtype=np.int64)
        return min(map(loss, starts)) >= SPEECHLESS * loss(silent)


def equalised(problem: Problem, keep: Counts, loss: MeasuredLoss) -> Counts:
    """Move to the minimum of an additive model of the loss, if the loss measured there is lower.

    The model of a part's loss is a exp(-b u), where u is the logarithm of the part's change. The losses measured with
    less and with more of the part give a and b. At the minimum, marginal loss over marginal cost is the same in all
    parts.
    """
    least, most = floors(problem.prunable), ceilings(problem.prunable)
    now, amounts = loss(keep), _amounts(keep)
    slope, curvature = np.zeros(len(keep)), np.ones(len(keep))
    less = np.maximum(least, np.rint(amounts * np.exp(-STEP)).astype(np.int64))
    more = np.minimum(most, np.rint(amounts * np.exp(STEP)).astype(np.int64))
    changes = [(p, kept[p]) for p in range(len(keep)) for kept in (less, more) if kept[p] != keep[p]]
    losses = dict(zip(changes, loss.around(keep, [_with(keep, *change) for change in changes]), strict=True))
    for p in range(len(keep)):
        rates = [
            max(sign * (losses[p, kept] - now), 0.0) / abs(np.log(max(kept, 0.5) / amounts[p]))
            for kept, sign in ((less[p], 1.0), (more[p], -1.0))
            if kept != keep[p]
        ]
        slope[p] = np.mean(rates) if rates else 0.0
        if len(rates) == 2 and min(rates) > 0.0:
            slope[p] = np.sqrt(rates[0] * rates[1])
            curvature[p] = np.clip(np.log(rates[0] / rates[1]) / STEP, 0.5, 6.0)
    change = _least(problem, keep, np.maximum(slope, 1e-9), curvature)
    steps = [_changed(problem, keep, part_of_it * change) for part_of_it in (1.0, 0.5, 0.25)]
    return min([keep, *steps], key=loss)


def _with(keep: Counts, part: int, units: int) -> Counts:
    """Change how many units one part keeps."""
    other = keep.copy()
    other[part] = units
    return other


def _least(problem: Problem, keep: Counts, slope: Floats, curvature: Floats) -> Floats:
    """Solve for the changes u (parts,) within REACH at which slope exp(-curvature u) / (cost exp(u)) is the same."""
    prices, amounts = _prices(problem, keep), _amounts(keep)
    least, most = (
        np.log(_amounts(bound) / amounts) for bound in (floors(problem.prunable), ceilings(problem.prunable))
    )

    def change(log_rate: float) -> Floats:
        u = (np.log(slope / (prices * amounts)) - log_rate) / (1.0 + curvature)
        return np.clip(u, np.maximum(-REACH, least), np.minimum(REACH, most))

    low, high = -100.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        dearer = float(prices @ (amounts * np.exp(change(middle)))) > float(prices @ amounts)
        low, high = (middle, high) if dearer else (low, middle)
    return change(high)


def _amounts(keep: Counts) -> Floats:
    """Count an empty part as half a unit, so that it has a logarithm and may grow again."""
    return np.maximum(keep, 0.5)


def _prices(problem: Problem, keep: Counts) -> Floats:
    """Return the price of one more unit of each part: (parts,). At full width: of one unit less."""
    prunable, spent = problem.prunable, problem.prunable.cost(keep, problem.budget)
    prices = np.empty(len(keep))
    for p, part in enumerate(prunable.parts):
        other = keep.copy()
        other[p] += 1 if keep[p] < part.units else -1
        prices[p] = abs(prunable.cost(other, problem.budget) - spent)
    return np.maximum(prices, 1e-9)


def exchanged(problem: Problem, keep: Counts, loss: MeasuredLoss) -> Counts:
    """Try random exchanges between a few parts. Keep those that lower the loss; their size adapts to their success."""
    random = np.random.default_rng(problem.context.seed)
    size, trend = 0.35, np.zeros(len(keep))
    for _ in range(EXCHANGES):
        change = random.normal(0.0, size, len(keep)) * (random.random(len(keep)) < 0.3) + 0.5 * trend
        tried = _changed(problem, keep, np.clip(change, -REACH, REACH))
        if loss(tried) < loss(keep):
            trend = 0.5 * (trend + np.log(_amounts(tried) / _amounts(keep)))
            keep, size = tried, min(1.3 * size, 0.8)
        else:
            trend, size = 0.5 * trend, max(0.97 * size, 0.08)
    return keep


def after_training(problem: Problem, allocations: list[Counts], loss: TrainedLoss) -> Counts:
    """Find the best one after a short training: of these allocations, and of two more on the line of the two best.

    The line is straight in the logarithms of the parts' units. A training ends early once it cannot win.
    """
    two = list[tuple[float, Counts]]()  # the best so far, and the second
    for keep in {keep.tobytes(): keep for keep in allocations}.values():
        found = loss(keep, two[1][0] if len(two) == 2 else math.inf)
        two = sorted([*two, (found, keep)], key=lambda each: each[0])[:2]
    (least, best), (_, second) = two[0], two[-1]
    towards = np.log(_amounts(second) / _amounts(best))
    for tried in [_changed(problem, best, share * towards) for share in (0.5, -0.5)]:
        if (found := loss(tried, least)) < least:
            least, best = found, tried
    return best


def _changed(problem: Problem, keep: Counts, change: Floats) -> Counts:
    """Multiply each part's units by exp(change) and spend the problem's budget in these proportions."""
    wanted = np.asarray(_amounts(keep) * np.exp(change), dtype=np.float64)
    return spend(lambda scale: scale * wanted, problem.prunable, problem.total, problem.budget)
