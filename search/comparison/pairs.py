"""Every pair of policies in a cell: who is ahead, whether both are equivalent, and how many seeds more would decide."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from search.comparison.estimates import Estimate, Floats, holm
from search.comparison.gaps import same_budget
from search.comparison.headline import BASELINE
from search.comparison.winners import BySeed, Cells
from search.results.scale import ACCURACY, rank
from trainables.frozen import Frozen
from trainables.mistakes import listed

LEVEL = 0.05  # of each test
FEWEST = 3  # seeds; the deviation of two gaps has one degree of freedom
MOST_MORE = 1000  # seeds more that are looked at
ROUNDING = 1e-9  # a smaller deviation is rounding: accuracies are counted on fewer samples than that
MOST_POINTS = 100

Verdict = Literal["better", "worse", "equivalent", "undecided", "too few seeds"]


class Pair(Frozen):
    """Two policies in one cell, by the metric after recovery, over the seeds in which both kept the same budget.

    All numbers are of Student's t over the paired gaps, at any number of seeds: then intervals, tests and `seeds_more`
    follow from one formula. The p-values are None for fewer than `FEWEST` seeds, and if all gaps are the same.
    """

    policy: str
    rival: str  # uniform, if the pair has it
    setting: str  # as in a row of the comparison; so is the sparsity
    sparsity: float
    metric: str
    seeds: list[int]
    gap: Estimate  # how far the policy is ahead of the rival, with its 95 % interval
    verdict: Verdict  # better or worse: the 95 % interval excludes 0; equivalent: within the margin, and neither
    within_margin: bool  # two one-sided tests at 5 %: the 90 % interval lies within the margin
    seeds_more: int | None  # that would decide, with this mean and deviation; 0: decided; None: over 1,000, or unknown
    p: float | None  # paired t-test of no gap
    holm_p: float | None  # corrected over the pairs of the cell with uniform, or over its other pairs; so is the next
    equivalence_p: float | None  # the larger one of the two one-sided tests
    equivalence_holm_p: float | None

    def swapped(self) -> "Pair":
        """Exchange the policy and its rival."""
        gap = self.gap
        ends = {"low": None if gap.high is None else -gap.high, "high": None if gap.low is None else -gap.low}
        exchanged: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
        return self.model_copy(
            update={
                "policy": self.rival,
                "rival": self.policy,
                "gap": gap.model_copy(update={"mean": -gap.mean, **ends}),
                "verdict": exchanged.get(self.verdict, self.verdict),
            }
        )


def checked_margin(margin: float, metrics: Collection[str] = (ACCURACY,)) -> float:
    """Return a margin in the unit in which results are kept: points of accuracy as a fraction.

    metrics: of the results. ValueError for several, and unless a margin of accuracy is above 0 and at most 100, and any
    other one above 0.
    """
    if len(metrics) > 1:
        raise ValueError(f"margin must be of one metric, but the studies have {listed(metrics)}; compare each alone")
    if metrics and ACCURACY not in metrics:
        if not 0 < margin < math.inf:
            raise ValueError(f"margin must be above 0, in the unit of {listed(metrics)}, but got {margin:g}")
        return margin
    if not 0 < margin <= MOST_POINTS:
        raise ValueError(f"margin must be above 0 and at most {MOST_POINTS} points of accuracy, but got {margin:g}")
    return margin / 100


def pairs_of(cells: Cells, margin: float) -> list[Pair]:
    """Compare every two policies of each setting and sparsity. margin: as `checked_margin` returns it."""
    rivals: dict[tuple[str, float], dict[str, BySeed]] = defaultdict(dict)
    for cell, own in cells.items():
        rivals[cell.setting, cell.sparsity][cell.policy] = own
    found: list[Pair] = []
    for (setting, sparsity), by_policy in sorted(rivals.items()):
        own_pairs = []
        for policy, rival in combinations(sorted(by_policy, key=lambda policy: (policy == BASELINE, policy)), 2):
            gaps = _gaps(by_policy[policy], by_policy[rival])
            if gaps:
                metric = next(iter(by_policy[policy].values())).metric
                names = {"policy": policy, "rival": rival, "setting": setting, "sparsity": sparsity, "metric": metric}
                own_pairs.append(
                    Pair.model_validate(names | {"seeds": [*gaps]} | student_tests([*gaps.values()], margin))
                )
        found += _corrected(own_pairs)
    return found


def _gaps(own: BySeed, other: BySeed) -> dict[int, float]:
    """Find how far one policy is ahead of another one in each seed in which their budgets match."""
    return {
        seed: rank(own[seed]) - rank(other[seed])
        for seed in sorted(own.keys() & other)
        if same_budget(own[seed], other[seed])
    }


def student_tests(gaps: Sequence[float], margin: float) -> dict[str, object]:
    """Test paired gaps, one for each seed; the fields of a `Pair` that follow from them, before Holm's correction."""
    gap = Estimate.by_student(gaps)
    p = equivalence_p = None
    if gap.n >= FEWEST and gap.sd is not None and gap.sd > ROUNDING:
        error = gap.sd / math.sqrt(gap.n)
        p = 2 * float(stdtr(gap.n - 1, -abs(gap.mean) / error))
        equivalence_p = float(stdtr(gap.n - 1, (abs(gap.mean) - margin) / error))  # of the nearer end of the margin
    within = equivalence_p is not None and equivalence_p < LEVEL
    verdict: Verdict = "equivalent" if within else "undecided"
    if gap.n < FEWEST:
        verdict = "too few seeds"
    elif p is not None and p < LEVEL:
        verdict = "better" if gap.mean > 0 else "worse"
    more: int | None = 0
    if verdict in ("undecided", "too few seeds"):
        more = None if p is None or gap.sd is None else seeds_more(gap.mean, gap.sd, gap.n, margin)
    untested = {"holm_p": None, "equivalence_holm_p": None}
    tests = {"p": p, "equivalence_p": equivalence_p, **untested}
    return {"gap": gap, "verdict": verdict, "within_margin": within, "seeds_more": more, **tests}


def seeds_more(mean: float, sd: float, seeds: int, margin: float) -> int | None:
    """Find how many seeds beyond these would decide, if mean and deviation stayed; None for more than `MOST_MORE`.

    The pair is decided where the 95 % interval excludes 0, or the 90 % interval lies within the margin.
    """
    two_sided, one_sided = _half_lengths(seeds)
    decided = (two_sided * sd < abs(mean)) | (one_sided * sd < margin - abs(mean))
    return int(decided.argmax()) + 1 if decided.any() else None


@cache
def _half_lengths(seeds: int) -> tuple[Floats, Floats]:
    """(MOST_MORE,) each, in deviations: half of the 95 % and of the 90 % interval over 1, 2, ... seeds more."""
    n: NDArray[np.float64] = np.arange(seeds + 1.0, seeds + MOST_MORE + 1.0)
    return stdtrit(n - 1, 1 - LEVEL / 2) / np.sqrt(n), stdtrit(n - 1, 1 - LEVEL) / np.sqrt(n)


def _corrected(pairs: Sequence[Pair]) -> Iterable[Pair]:
    """Correct the p-values of a cell's pairs with uniform, and those of its other pairs, for their number."""
    adjusted: list[dict[str, float]] = [{} for _ in pairs]
    for baseline in (True, False):
        for name, corrected in (("p", "holm_p"), ("equivalence_p", "equivalence_holm_p")):
            ps = {i: getattr(pair, name) for i, pair in enumerate(pairs) if (pair.rival == BASELINE) is baseline}
            known = {i: p for i, p in ps.items() if p is not None}
            for i, p in zip(known, holm([*known.values()]), strict=True):
                adjusted[i][corrected] = p
    return [pair.model_copy(update=own) for pair, own in zip(pairs, adjusted, strict=True)]
