"""Verifies the pairs of a comparison: gaps, tests, verdicts and seeds more are derived again, by SciPy."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from statistics import fmean, stdev

import numpy as np
from scipy import stats

from search.comparison.compare import Comparison
from search.comparison.pairs import FEWEST, LEVEL, MOST_MORE, ROUNDING, Pair
from search.results.rows import TrialRow

PRECISION = 1e-9
BUDGET = 0.01  # largest difference of two kept budgets, as a share of the larger one
NOISE = 0.1  # the same for times, however much their measured runs spread

BySeed = Mapping[int, TrialRow]
Name = tuple[str, float, frozenset[str]]  # setting, sparsity, policies


def problems_of_pairs(comparison: Comparison, rows: Mapping[str, TrialRow]) -> Iterator[str]:
    """Name the pairs that do not follow from the trials; nothing for a comparison without a margin."""
    if comparison.margin is None:
        return
    cells: dict[tuple[str, float], dict[str, BySeed]] = defaultdict(dict)
    for row in comparison.rows:
        trials = [rows[key] for key in row.trial_keys if key in rows]
        cells[row.setting, row.sparsity][row.policy] = {trial.seed: trial for trial in trials}
    pairs: dict[Name, Pair] = {(p.setting, p.sparsity, frozenset({p.policy, p.rival})): p for p in comparison.pairs}
    for (setting, sparsity), by_policy in cells.items():
        own: list[Pair] = []
        for policies in combinations(by_policy, 2):
            pair = pairs.pop((setting, sparsity, frozenset(policies)), None)
            policy, rival = (pair.policy, pair.rival) if pair else policies
            gaps = _gaps(by_policy[policy], by_policy[rival])
            problems = _of_pair(pair, gaps, comparison.margin) if pair else ["it is missing"] if gaps else []
            yield from (f"{policy} against {rival} at sparsity {sparsity:g}: {problem}" for problem in problems)
            own += [pair] if pair else []
        yield from (f"pairs at sparsity {sparsity:g}: {problem}" for problem in _of_corrections(own))
    yield from (f"{pair.policy} against {pair.rival}: there are no such trials" for pair in pairs.values())


def _gaps(own: BySeed, other: BySeed) -> dict[int, float]:
    found = {}
    for seed in sorted(own.keys() & other.keys()):
        one, two = own[seed], other[seed]
        kept = [_spent(row) for row in (one, two)]
        within = max(_within(row) for row in (one, two))
        if max(kept) - min(kept) <= within * max(kept):
            ahead = (one.best_val_accuracy or 0.0) - (two.best_val_accuracy or 0.0)
            found[seed] = ahead if one.higher_is_better else -ahead
    return found


def _spent(row: TrialRow) -> float:
    """Return what a trial keeps of what its budget counts."""
    if row.budget != "latency":
        return (row.params_kept if row.budget == "params" else row.macs_kept) or 0
    if row.latency_ms is None or row.dense_latency_ms is None:
        return row.predicted_latency_ms or 0.0
    return row.latency_ms / row.dense_latency_ms


def _within(row: TrialRow) -> float:
    """Return how far a rival may be from that: a time within the spread of its runs, 1 % at least and 10 % at most."""
    return min(max(row.latency_spread or 0.0, BUDGET), NOISE) if row.budget == "latency" else BUDGET


def _of_pair(pair: Pair, gaps: Mapping[int, float], margin: float) -> list[str]:
    if pair.seeds != [*gaps]:
        return [f"its seeds are {pair.seeds}, but {[*gaps]} have matching budgets"]
    n, mean = len(gaps), fmean(gaps.values())
    spread = stdev(gaps.values()) if n > 1 else 0.0
    error = spread / math.sqrt(n)
    expected: dict[str, float | None] = {"gap": mean, "low": None, "high": None, "p": None, "equivalence_p": None}
    if n > 1:
        half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * error
        expected |= {"low": mean - half, "high": mean + half}
    if n >= FEWEST and spread > ROUNDING:
        nonzero, above, below = stats.t.sf(np.array([abs(mean), mean + margin, margin - mean]) / error, n - 1).tolist()
        expected |= {"p": 2 * nonzero, "equivalence_p": max(above, below)}
    found = {"gap": pair.gap.mean, "low": pair.gap.low, "high": pair.gap.high}
    found |= {"p": pair.p, "equivalence_p": pair.equivalence_p}
    problems = [
        f"{name} is {value}, but its trials give {expected[name]}"
        for name, value in found.items()
        if not _close(value, expected[name])
    ]
    ahead, within = (p is not None and p < LEVEL for p in (expected["p"], expected["equivalence_p"]))
    verdict = ("better" if mean > 0 else "worse") if ahead else "equivalent" if within else "undecided"
    verdict = "too few seeds" if n < FEWEST else verdict
    if (pair.verdict, pair.within_margin) != (verdict, within):
        problems.append(f"its verdict is {pair.verdict}, but its trials give {verdict}")
    if expected["p"] is None or ahead or within:
        fits = pair.seeds_more == (None if expected["p"] is None else 0)
    else:
        fits = _decides_first(pair.seeds_more, mean, spread, n, margin)
    return problems if fits else [*problems, f"its seeds_more, {pair.seeds_more}, does not follow from its trials"]


def _decides_first(more: int | None, mean: float, spread: float, seeds: int, margin: float) -> bool:
    """Tell whether so many seeds more decide, and one fewer does not; None: so many as are looked at do not decide."""
    if more == 0:
        return False
    n = seeds + np.array([MOST_MORE, MOST_MORE] if more is None else [more - 1, more])
    wide, narrow = (stats.t.ppf(1 - tail, n - 1) * spread / np.sqrt(n) for tail in (LEVEL / 2, LEVEL))
    decided = (wide < abs(mean)) | (abs(mean) + narrow < margin)
    return bool(not decided[0] and decided[1] == (more is not None))


def _of_corrections(pairs: list[Pair]) -> Iterator[str]:
    """Check Holm's correction by its definition: the largest p times the number of those that are not smaller."""
    for baseline in (True, False):
        family = [pair for pair in pairs if (pair.rival == "uniform") is baseline]
        for name, corrected in (("p", "holm_p"), ("equivalence_p", "equivalence_holm_p")):
            ps = sorted(p for pair in family if (p := getattr(pair, name)) is not None)
            for pair in family:
                own, found = getattr(pair, name), getattr(pair, corrected)
                steps = [(len(ps) - rank) * p for rank, p in enumerate(ps) if own is not None and p <= own]
                expected = min(1.0, max(steps)) if steps else None
                if not _close(found, expected):
                    yield f"{corrected} of {pair.policy} against {pair.rival} is {found}, but must be {expected}"


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=PRECISION)
