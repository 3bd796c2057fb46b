"""Intervals and tests against scipy's, against plain loops, and against what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.comparison.estimates import BOOTSTRAPPED, EXACT, Estimate, holm, sign_flip


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=BOOTSTRAPPED - 1))
def test_with_few_seeds_an_interval_is_students(values: list[float]) -> None:
    estimate = Estimate.of(values)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    if deviation > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=deviation / len(values) ** 0.5)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
    assert estimate.sd == pytest.approx(deviation, abs=1e-9)
    assert (estimate.n, estimate.method) == (len(values), "student")


def test_one_seed_has_no_interval() -> None:
    assert Estimate.of([0.5]) == Estimate(mean=0.5)


def test_with_many_seeds_an_interval_is_the_studentised_bootstraps() -> None:
    values = np.random.default_rng(5).exponential(size=12)
    drawn = np.random.default_rng(6).choice(values, size=(20_000, 12))
    t = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1) / 12**0.5)
    low, high = values.mean() - np.quantile(t, [0.975, 0.025]) * values.std(ddof=1) / 12**0.5
    estimate = Estimate.of(values.tolist())
    assert estimate.method == "bootstrap"
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=0.06)
    assert estimate == Estimate.of(values.tolist())


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000).map(lambda hits: hits / 1000), min_size=1, max_size=10), max_size=8))
def test_samples_are_estimated_together_as_one_by_one(samples: list[list[float]]) -> None:
    for together, values in zip(Estimate.of_all(samples), samples, strict=True):
        alone = Estimate.of(values)
        assert (together.n, together.method, together.mean, together.sd) == (
            alone.n,
            alone.method,
            alone.mean,
            alone.sd,
        )
        if alone.low is not None:  # the last bits of a resample's mean may hang on how many are multiplied at once
            assert (together.low, together.high) == pytest.approx((alone.low, alone.high), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seeds", [3, BOOTSTRAPPED, 15])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int) -> None:
    samples = np.random.default_rng(seeds).normal(0.7, 0.01, size=(1500, seeds))
    held = [e.low <= 0.7 <= e.high for e in map(Estimate.of, samples.tolist()) if e.low is not None and e.high]
    assert len(held) == 1500
    assert 0.93 < np.mean(held) < 0.97


def test_percentiles_of_a_bootstrap_would_not_at_three_seeds() -> None:
    samples = np.random.default_rng(0).normal(size=(500, 3))
    told = stats.bootstrap(
        (samples,), np.mean, axis=1, method="percentile", n_resamples=999, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (
        np.mean((told.low <= 0) & (told.high >= 0)) < 0.8
    )  # from the least to the greatest value at most, which miss with 1 in 4


def test_resamples_without_spread_leave_students_interval() -> None:
    assert Estimate.of([0.5] * 7 + [0.6]).method == "student"
    same = Estimate.of([0.5] * 9)
    assert (same.low, same.high, same.sd) == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 8])
def test_sign_flips_are_scipys_exact_permutation_test(seeds: int) -> None:
    differences = np.random.default_rng(seeds).normal(0.3, 1, seeds)
    told = sign_flip(differences.tolist())
    assert told.smallest_p == 0.5 ** (seeds - 1)
    if seeds > 1:
        exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10**9)
        assert told.p == pytest.approx(exact.pvalue)


def test_sign_flips_of_many_seeds_are_drawn() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1, EXACT + 3)
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10**9).pvalue
    told = sign_flip(differences.tolist())
    assert told.p == pytest.approx(exact, abs=0.02)
    assert sign_flip([1.0] * 20).p == told.smallest_p == 2 / 2**EXACT


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip([0.0, 0.0, 0.0]).p == 1.0
    assert sign_flip([0.1, -0.1, 0.0]).p == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
