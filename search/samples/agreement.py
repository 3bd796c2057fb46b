"""Measures whether networks find the same samples easy: correlations over samples, with bootstrap intervals."""

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
    """A coefficient with its 95 % percentile bootstrap interval over samples. Trainings are not resampled."""

    value: float
    low: float
    high: float


class Agreement(Frozen):
    """How two networks agree on the samples. A network and itself with another seed give the ceiling."""

    networks: tuple[str, str]
    coefficient: Coefficient
    single: Interval | None  # mean over pairs of runs; None if a run gives all samples the same value
    pairs: tuple[float, ...]  # of each pair of runs
    means: Interval | None  # of the means over seeds; None for one network, and as for `single`
    published: float | None  # for single runs; its data set, epochs and optimiser are not published


def agreements(runs: Runs) -> list[Agreement]:
    """Correlate every two networks, and each network with itself under another seed, by both coefficients."""
    rows_of, stacked = _stack(runs)
    results = []
    for coefficient in COEFFICIENTS:
        drawn = resampled(stacked, coefficient)
        for one, other in combinations_with_replacement(runs, 2):
            (mean, *seeds), (other_mean, *other_seeds) = rows_of[one], rows_of[other]
            pairs = list(combinations(seeds, 2) if one == other else product(seeds, other_seeds))
            if pairs:
                results.append(
                    Agreement(
                        networks=(one, other),
                        coefficient=coefficient,
                        single=_interval(drawn, pairs),
                        pairs=tuple(float(drawn[0, a, b]) for a, b in pairs if np.isfinite(drawn[0, a, b])),
                        means=None if one == other else _interval(drawn, [(mean, other_mean)]),
                        published=PUBLISHED.get(frozenset((one, other))) if coefficient == "pearson" else None,
                    )
                )
    return results


def resampled(values: Floats, coefficient: Coefficient) -> Floats:
    """Correlate rows over the samples, and over `RESAMPLES` bootstrap resamples, which are the same for each pair.

    values: (R, N). Returns (1 + RESAMPLES, R, R); the first matrix is of the samples themselves. NaN if a row is
    constant. A resample changes covariances to first order, and for Spearman's coefficient the ranks, too: each sample
    adds its influence as often as it was drawn (Efron & Tibshirani 1993, chapter 22). Ties share the middle rank.
    SciPy's bootstrap takes 28 s for one pair of rows with 50,000 samples (Spearman: 50 s). This takes 3 s for all
    pairs of eight rows.
    """
    rows, samples = values.shape
    pairs = np.triu_indices(rows)
    terms = np.stack([*TERMS[coefficient](values, *pairs)], axis=1)  # (N, pairs)
    drawn, single = [terms.mean(axis=0, keepdims=True)], terms.astype(np.float32)
    for counts in np.array_split(draw_counts(samples), RESAMPLES // TOGETHER):
        drawn.append(counts.astype(np.float32) @ single / samples)
    covariances = np.empty((1 + RESAMPLES, rows, rows))
    covariances[:, *pairs] = covariances[:, *pairs[::-1]] = np.concatenate(drawn)
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    deviations = np.sqrt(np.where(variances > 1e-9, variances, np.nan))
    return np.asarray(covariances / (deviations[:, :, None] * deviations[:, None, :]))


def _products(values: Floats, ones: Integers, others: Integers) -> Iterator[Floats]:
    """Yield each sample's part (N,) in the covariance of each pair of rows, scaled to standard deviation 1."""
    spread = np.where(np.ptp(values, axis=1, keepdims=True) > 0, values.std(axis=1, keepdims=True), np.inf)
    scaled = (values - values.mean(axis=1, keepdims=True)) / spread
    return (scaled[one] * scaled[other] for one, other in zip(ones, others, strict=True))


def _rank_products(values: Floats, ones: Integers, others: Integers) -> Iterator[Floats]:
    """As `_products`, for ranks in [0, 1]: a sample adds its own part and shifts the ranks of the samples above it."""
    levels = [np.unique(row, return_inverse=True)[1] for row in values]
    ranks = [1.0 - _above(level, np.ones(len(level))) for level in levels]
    for one, other in zip(ones, others, strict=True):
        direct = ranks[one] * ranks[other]
        shifted = _above(levels[one], ranks[other]) + _above(levels[other], ranks[one])
        yield direct + shifted - 2 * direct.mean() - 0.25


def _above(levels: Integers, values: Floats) -> Floats:
    """Sum the values (N,) of all samples above each sample, and half of those on its level; divide by N."""
    sums = np.bincount(levels, values)
    return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[levels] / len(values))


TERMS: Mapping[Coefficient, Callable[[Floats, Integers, Integers], Iterator[Floats]]] = {
    "pearson": _products,
    "spearman": _rank_products,
}


@lru_cache(maxsize=1)
def draw_counts(samples: int) -> NDArray[np.uint8]:
    """Draw bootstrap resamples: (RESAMPLES, N), how often each sample is in each resample."""
    generator = np.random.default_rng(0)
    counts = np.empty((RESAMPLES, samples), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(samples, size=samples), minlength=samples)
    return counts


def _stack(runs: Runs) -> tuple[dict[str, list[int]], Floats]:
    """Stack the runs of all networks: network -> rows, and (rows, N). Its first row is the mean over its seeds."""
    rows_of: dict[str, list[int]] = {}
    rows: list[Floats] = []
    for network, seeds in runs.items():
        rows_of[network] = list(range(len(rows), len(rows) + 1 + len(seeds)))
        rows += [np.mean(seeds, axis=0), *seeds]
    return rows_of, np.stack(rows)


def _interval(drawn: Floats, pairs: Sequence[tuple[int, int]]) -> Interval | None:
    means = np.mean([drawn[:, one, other] for one, other in pairs], axis=0)
    if not np.isfinite(means[0]):
        return None
    low, high = np.nanquantile(means, ENDS)
    return Interval(value=means[0], low=low, high=high)
