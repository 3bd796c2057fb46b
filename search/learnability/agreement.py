"""Whether networks find the same samples easy: correlations over samples, with intervals from resampling these."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainables.frozen import Frozen

Coefficient = Literal["pearson", "spearman"]
COEFFICIENTS: tuple[Coefficient, ...] = ("pearson", "spearman")
RESAMPLES, TOGETHER = 1000, 50
ENDS = (0.025, 0.975)  # of a 95 % interval
PUBLISHED = {  # linear correlation of learnability over samples: the one table of arXiv 1901.02347
    frozenset(("vgg16", "resnet20")): 0.796,
    frozenset(("vgg16", "mobilenet")): 0.713,
    frozenset(("resnet20", "mobilenet")): 0.774,
}

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Runs = Mapping[str, Sequence[Floats] | Floats]  # network -> a value for each sample (N,), from each of its seeds


class Interval(Frozen):
    """A coefficient with its 95 % percentile bootstrap interval over the samples; the trainings stay as they are."""

    value: float
    low: float
    high: float


class Agreement(Frozen):
    """How two networks agree on the samples; twice the same network, with another seed, is the ceiling."""

    networks: tuple[str, str]
    coefficient: Coefficient
    single: Interval | None  # mean over pairs of runs; None where a run tells the samples apart nowhere
    pairs: tuple[float, ...]  # of each pair of runs
    means: Interval | None  # of the means over seeds; None for one network, and as above
    published: float | None  # for single runs; which data set, how many epochs and what optimiser is not said


def agreements(runs: Runs) -> list[Agreement]:
    """Correlate every two networks, and every network with itself under another seed, in both coefficients."""
    places, stacked = _stack(runs)
    found = []
    for coefficient in COEFFICIENTS:
        drawn = resampled(stacked, coefficient)
        for one, other in combinations_with_replacement(runs, 2):
            (mean, *own), (other_mean, *others) = places[one], places[other]
            pairs = list(combinations(own, 2) if one == other else product(own, others))
            if pairs:
                found.append(
                    Agreement(
                        networks=(one, other),
                        coefficient=coefficient,
                        single=_interval(drawn, pairs),
                        pairs=tuple(float(drawn[0, a, b]) for a, b in pairs if np.isfinite(drawn[0, a, b])),
                        means=None if one == other else _interval(drawn, [(mean, other_mean)]),
                        published=PUBLISHED.get(frozenset((one, other))) if coefficient == "pearson" else None,
                    )
                )
    return found


def resampled(values: Floats, coefficient: Coefficient) -> Floats:
    """Correlate rows over the samples, and again over as many samples drawn with replacement, the same in every run.

    values: (R, N). Returns (1 + RESAMPLES, R, R), the samples themselves first; NaN where a row is constant. What was
    drawn changes covariances, and in Spearman's coefficient the ranks, to first order: each sample has its influence
    as often as it was drawn (Efron & Tibshirani 1993, chapter 22). Ties share the middle rank. SciPy's bootstrap takes
    28 s for one pair of 50,000 samples (50 s in Spearman's), and this 3 s for all pairs of eight rows.
    """
    rows, samples = values.shape
    pairs = np.triu_indices(rows)
    terms = np.stack([*TERMS[coefficient](values, *pairs)], axis=1)  # (N, pairs)
    drawn, single = [terms.mean(axis=0, keepdims=True)], terms.astype(np.float32)
    for counts in np.array_split(_counts(samples), RESAMPLES // TOGETHER):
        drawn.append(counts.astype(np.float32) @ single / samples)
    covariances = np.empty((1 + RESAMPLES, rows, rows))
    covariances[:, *pairs] = covariances[:, *pairs[::-1]] = np.concatenate(drawn)
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    deviations = np.sqrt(np.where(variances > 1e-9, variances, np.nan))
    return np.asarray(covariances / (deviations[:, :, None] * deviations[:, None, :]))


def _products(values: Floats, ones: Integers, others: Integers) -> Iterator[Floats]:
    """Each sample's part (N,) in the covariance of each two rows, which are scaled to deviation 1."""
    spread = np.where(np.ptp(values, axis=1, keepdims=True) > 0, values.std(axis=1, keepdims=True), np.inf)
    scaled = (values - values.mean(axis=1, keepdims=True)) / spread
    return (scaled[one] * scaled[other] for one, other in zip(ones, others, strict=True))


def _rank_products(values: Floats, ones: Integers, others: Integers) -> Iterator[Floats]:
    """As `_products`, of ranks in [0, 1]: a sample has its own part, and one by moving the ranks of those above it."""
    levels = [np.unique(row, return_inverse=True)[1] for row in values]
    ranks = [1.0 - _above(level, np.ones(len(level))) for level in levels]
    for one, other in zip(ones, others, strict=True):
        own = ranks[one] * ranks[other]
        moved = _above(levels[one], ranks[other]) + _above(levels[other], ranks[one])
        yield own + moved - 2 * own.mean() - 0.25


def _above(levels: Integers, values: Floats) -> Floats:
    """Sum the values (N,) of samples above each one, half of those on its level, as a share of N."""
    sums = np.bincount(levels, values)
    return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[levels] / len(values))


TERMS: Mapping[Coefficient, Callable[[Floats, Integers, Integers], Iterator[Floats]]] = {
    "pearson": _products,
    "spearman": _rank_products,
}


@lru_cache(maxsize=1)
def _counts(samples: int) -> NDArray[np.uint8]:
    """(RESAMPLES, N): how often each sample is in each resample."""
    generator = np.random.default_rng(0)
    counts = np.empty((RESAMPLES, samples), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(samples, size=samples), minlength=samples)
    return counts


def _stack(runs: Runs) -> tuple[dict[str, list[int]], Floats]:
    """Stack the runs of all networks; each network's rows begin with the mean over its seeds."""
    places: dict[str, list[int]] = {}
    rows: list[Floats] = []
    for network, own in runs.items():
        places[network] = list(range(len(rows), len(rows) + 1 + len(own)))
        rows += [np.mean(own, axis=0), *own]
    return places, np.stack(rows)


def _interval(drawn: Floats, pairs: Sequence[tuple[int, int]]) -> Interval | None:
    means = np.mean([drawn[:, one, other] for one, other in pairs], axis=0)
    if not np.isfinite(means[0]):
        return None
    low, high = np.nanquantile(means, ENDS)
    return Interval(value=means[0], low=low, high=high)
