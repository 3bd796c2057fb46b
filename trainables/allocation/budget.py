"""The budget: an integer total of weights or multiply-accumulates, spent to the last unit that fits.

A policy is a path from keeping nothing to keeping everything. The budget decides where to stop on this path.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainables.pruning.granularity import Counts, Part, Prunable
from trainables.pruning.held import not_pruned
from trainables.pruning.latency_cost import PICOSECONDS
from trainables.spec import BudgetKind

Path = Callable[[float], NDArray[np.float64]]  # scale > 0 -> (parts,) units wanted, growing with the scale


def proportional(parts: tuple[Part, ...], weights: NDArray[np.float64]) -> Path:
    """Keep min(1, scale * weight) of each part; weights: (parts,), finite and >= 0, not all 0."""
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.max() > 0):
        raise ValueError(f"relative densities must be finite, >= 0 and not all 0, but got {weights.tolist()}")
    relative = np.maximum(weights / weights.max(), 1e-9)  # a part of no importance is filled last, but it is filled
    units = np.array([part.units for part in parts], dtype=np.float64)
    return lambda scale: np.minimum(1.0, scale * relative) * units


def ranked(scores: list[NDArray[np.float64]]) -> Path:
    """Keep the units of highest score over all parts: those whose score is at least the highest score / scale.

    scores: (units,) for each part, finite and >= 0, in any order. Units with score 0 are filled last.
    """
    highest = max(float(of_part.max()) for of_part in scores) or 1.0
    ascending = [np.sort(of_part[of_part > 0] / highest) for of_part in scores]
    return lambda scale: np.array([len(part) - np.searchsorted(part, 1.0 / scale) for part in ascending], np.float64)


def dense_counts(prunable: Prunable) -> Counts:
    """Return the number of units of every part: (parts,)."""
    return np.array([part.units for part in prunable.parts], dtype=np.int64)


def floors(prunable: Prunable) -> Counts:
    """Return the fewest units that every part may keep: (parts,)."""
    return np.array([part.least for part in prunable.parts], dtype=np.int64)


def ceilings(prunable: Prunable) -> Counts:
    """Return the most units that every part may keep: (parts,)."""
    return np.array([part.most for part in prunable.parts], dtype=np.int64)


def total(prunable: Prunable, sparsity: float, kind: BudgetKind, at_least: Counts | None = None) -> int:
    """Return the integer budget of a sparsity.

    Raises ValueError if `at_least` (default: the floors) costs more than the budget, or the ceilings cost less. The
    message names what is not pruned.
    """
    fewest = floors(prunable) if at_least is None else at_least
    dense, least, most = (prunable.cost(keep, kind) for keep in (dense_counts(prunable), fewest, ceilings(prunable)))
    budget = round((1.0 - sparsity) * dense)
    if least <= budget <= most:
        return budget
    leaves = f"of {amount(dense, kind)}, but sparsity {sparsity} leaves {number(budget, kind)}"
    if any(part.bounds for part in prunable.parts):
        low, high = _sparsities(least, most, dense)
        remedy = f"use a sparsity of {low} to {high}, or change the rules in layers"
        rule = f"budget must leave {number(least, kind)} to {number(most, kind)} {leaves}; {remedy}"
    else:
        remedy = f"use a sparsity of at most {int((1 - least / dense) * 1e4) / 1e4}"
        rule = f"budget must leave at least {number(least, kind)} {leaves}; {remedy}"
    whole = not_pruned({**_kept_whole(prunable, fewest), **prunable.held}) if budget < least else ""
    raise ValueError(f"{rule}{whole}{_rounded(prunable)}{_without_weights(prunable, kind)}")


def number(cost: int, kind: BudgetKind) -> str:
    """Write a cost without its unit."""
    return f"{cost / PICOSECONDS:.4g}" if kind == "latency" else f"{cost:,}"


def amount(cost: int, kind: BudgetKind) -> str:
    """Write a cost with its unit."""
    return f"{number(cost, kind)} {'ms' if kind == 'latency' else kind}"


def reachable(prunable: Prunable, kind: BudgetKind, at_least: Counts) -> tuple[float, float]:
    """Return the smallest and the largest sparsity that the bounds of the parts leave."""
    dense = prunable.cost(dense_counts(prunable), kind)
    return 1.0 - prunable.cost(ceilings(prunable), kind) / dense, 1.0 - prunable.cost(at_least, kind) / dense


def _sparsities(least: int, most: int, dense: int) -> tuple[float, float]:
    """Find the smallest and the largest sparsity whose budget lies between `least` and `most`, in at least four digits.

    There are more digits only where four name no such sparsity.
    """
    low, high = 1.0 - (most + 0.49) / dense, 1.0 - (least - 0.49) / dense  # budgets are rounded to whole numbers
    steps = next(10**n for n in range(4, 16) if math.ceil(low * 10**n) <= math.floor(high * 10**n))
    return max(0, math.ceil(low * steps)) / steps, math.floor(high * steps) / steps


def _kept_whole(prunable: Prunable, at_least: Counts) -> dict[str, str]:
    """Find the parts that a rule or the policy keeps whole, though units could go."""
    whole = [p for p, least in zip(prunable.parts, at_least, strict=True) if p.floor < p.units <= least]
    return {p.name: f"{'a rule' if p.least == p.units else 'the policy'} keeps it dense" for p in whole}


def _without_weights(prunable: Prunable, kind: BudgetKind) -> str:
    macs = prunable.macs_fixed if kind == "macs" else 0
    return f"; products without weights, as those of attention, take {macs:,} macs" if macs else ""


def _rounded(prunable: Prunable) -> str:
    multiple = max((part.multiple for part in prunable.parts), default=1)
    return f"; round_to keeps a multiple of up to {multiple} units in each part" if multiple > 1 else ""


def spend(path: Path, prunable: Prunable, budget: int, kind: BudgetKind, at_least: Counts | None = None) -> Counts:
    """Go as far along the path as the budget allows, then add units one by one until no unit fits.

    Returns (parts,) units to keep. Each count lies between `at_least` (default: the floors) and the ceilings.
    Weights meet a budget in params exactly. Otherwise the rest of the budget is smaller than the price of any further
    unit. Where a part keeps a multiple of units, the same holds for blocks of that size; the last block may be smaller.
    """
    least = floors(prunable) if at_least is None else at_least
    units = ceilings(prunable)
    multiple = np.array([part.multiple for part in prunable.parts], dtype=np.int64)
    fewest, most = -(-least // multiple), -(-units // multiple)  # counts are in blocks from here on

    def wanted(log_scale: float) -> NDArray[np.float64]:
        return np.clip(path(float(np.exp(log_scale))) / multiple, fewest, most)

    def cost(keep: Counts) -> int:
        return prunable.cost(np.minimum(keep * multiple, units), kind)

    def fits(keep: Counts) -> bool:
        return cost(keep) <= budget

    low, high = -80.0, 80.0
    if fits(np.floor(wanted(high)).astype(np.int64)):
        low = high
    while low < (low + high) / 2 < high:
        middle = (low + high) / 2
        if fits(np.floor(wanted(middle)).astype(np.int64)):
            low = middle
        else:
            high = middle
    keep = np.floor(wanted(low)).astype(np.int64)
    room = most - keep
    for p in np.argsort(-(wanted(high) - keep), kind="stable"):
        if room[p] > 0:
            keep[p] += 1
            if fits(keep):
                room[p] -= 1
            else:
                keep[p] -= 1
    filled: Counts = np.minimum(_filled(keep, room, cost, budget) * multiple, units)
    return filled


def _filled(keep: Counts, room: Counts, cost: Callable[[Counts], int], budget: int) -> Counts:
    """Add as many units as fit, those of the dearest part first, so that few are needed.

    room: (parts,) units that may be added.
    """
    spent = cost(keep)

    def with_more(p: int, n: int) -> int:
        more = keep.copy()
        more[p] += n
        return cost(more)

    prices = [with_more(p, 1) - spent for p in range(len(keep))]
    for p in sorted(range(len(keep)), key=lambda p: -prices[p]):
        low, high = 0, int(room[p])
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if with_more(p, middle) <= budget else (low, middle - 1)
        keep[p] += low
    return keep
