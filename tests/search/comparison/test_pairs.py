"""Pairs of policies: verdicts against SciPy's tests and hand-worked numbers, seeds more against brute force."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from search.cli.comparison_tables import print_comparison
from search.comparison.best_rivals import against_best
from search.comparison.compare import Comparison, compare
from search.comparison.pairs import FEWEST, MOST_MORE, Pair, seeds_more, student_tests
from search.comparison.wording import holm_of, seeds_more_of, verdict_of
from tests.search.comparison.test_compare import outcome, study_of
from trainables.recipe import Recipe

GAPS = st.lists(st.integers(-100, 100).map(lambda hits: hits / 1000), min_size=FEWEST, max_size=12)
NAMES = {"metric": "accuracy", "policy": "erk", "rival": "uniform", "setting": "s", "sparsity": 0.9, "seeds": []}


def pair_of(gaps: list[float], margin: float) -> Pair:
    return Pair.model_validate(NAMES | student_tests(gaps, margin))


def comparison(path: Path, accuracies: dict[str, list[float]], margin: float | None, **kept: int) -> Comparison:
    """Compare policies with these accuracies over seeds 0, 1, ... in one cell."""
    outcomes = [
        outcome(policy, 0.5, seed, accuracy, kept=kept.get(policy, 500))
        for policy, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    return compare([study_of(path / "s", outcomes)], margin)


@settings(deadline=None)
@given(GAPS, st.sampled_from([0.001, 0.003, 0.01, 0.05]))
def test_a_verdict_is_that_of_scipys_tests_and_of_the_intervals(gaps: list[float], margin: float) -> None:
    if len({*gaps}) == 1:
        return
    pair, n, error = pair_of(gaps, margin), len(gaps), stats.sem(gaps)
    p = stats.ttest_1samp(gaps, 0).pvalue
    above = stats.ttest_1samp(gaps, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(gaps, margin, alternative="less").pvalue
    assert pair.p == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert pair.equivalence_p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    low, high = stats.t.interval(0.95, n - 1, np.mean(gaps), error)
    assert (pair.gap.low, pair.gap.high) == pytest.approx((low, high))
    assert pair.gap.method == "student"
    narrow_low, narrow_high = stats.t.interval(0.90, n - 1, np.mean(gaps), error)
    within = -margin < narrow_low and narrow_high < margin
    expected = "better" if low > 0 else "worse" if high < 0 else "equivalent" if within else "undecided"
    assert (pair.verdict, pair.within_margin) == (expected, within)


@settings(deadline=None)
@given(st.floats(-0.02, 0.02), st.floats(0.0005, 0.05), st.integers(FEWEST, 12), st.sampled_from([0.003, 0.01]))
def test_seeds_more_are_those_of_brute_force(mean: float, sd: float, seeds: int, margin: float) -> None:
    def decided(n: int) -> bool:
        error = sd / math.sqrt(n)
        low, high = stats.t.interval(0.95, n - 1, mean, error)
        narrow_low, narrow_high = stats.t.interval(0.90, n - 1, mean, error)
        return bool(low > 0 or high < 0 or (narrow_low > -margin and narrow_high < margin))

    found = seeds_more(mean, sd, seeds, margin)
    tried = min(found or MOST_MORE, 60)
    assert [more for more in range(1, tried + 1) if decided(seeds + more)][:1] == ([found] if found == tried else [])
    assert found is None or (decided(seeds + found) and (found == 1 or not decided(seeds + found - 1)))


@pytest.mark.parametrize("seeds", [FEWEST, 6, 10])
def test_each_test_errs_as_often_as_it_says(seeds: int) -> None:
    """At a true gap of 0, 5 % are called better or worse; at one of the margin, 5 % at most lie within it."""
    margin, samples = 0.01, np.random.default_rng(seeds).normal(0, 0.004, size=(2000, seeds))
    differ = [pair_of(gaps, margin).verdict in ("better", "worse") for gaps in samples.tolist()]
    within = [pair_of(gaps, margin).within_margin for gaps in (samples + margin).tolist()]
    assert 0.035 < np.mean(differ) < 0.065
    assert 0.01 < np.mean(within) < 0.065


def test_a_gap_as_large_as_the_margin_is_decided_by_0_alone() -> None:
    """With a mean of 0.01 and a deviation of 0.02: t x 0.02 / sqrt(n) is below 0.01 from n = 18 on."""
    assert stats.t.ppf(0.975, 16) / math.sqrt(17) > 0.5 > stats.t.ppf(0.975, 17) / math.sqrt(18)
    assert seeds_more(0.01, 0.02, 3, 0.01) == 15
    assert seeds_more(0.0, 0.02, 3, 1e-4) is None  # 0.02 x 1.65 / sqrt(n) is 0.0001 at n = 108,000


def test_a_hand_worked_pair_is_equivalent() -> None:
    """Gaps of 1, -1, 2, -2 thousandths: mean 0, deviation sqrt(10 / 3), 90 % interval ±2.353 x 1.826 / 2 = ±2.148."""
    gaps = [0.001, -0.001, 0.002, -0.002]
    assert pair_of(gaps, 0.0022).verdict == "equivalent"
    short = pair_of(gaps, 0.0021)
    assert (short.verdict, short.seeds_more) == ("undecided", 1)  # with five seeds 2.132 x 1.826 / sqrt(5) = 1.741


def test_a_gap_that_is_sure_and_small_is_better_within_the_margin() -> None:
    pair = pair_of([0.0010, 0.0011, 0.0012, 0.0011], 0.003)
    assert (pair.verdict, pair.within_margin, pair.seeds_more) == ("better", True, 0)
    assert verdict_of(pair) == "better, within the margin"
    assert verdict_of(pair.swapped()) == "worse, within the margin"
    assert verdict_of(pair_of([0.010, 0.011, 0.012, 0.011], 0.003)) == "better"


@pytest.mark.parametrize("gaps", [[0.01], [0.01, 0.011], [0.0, 0.0]])
def test_two_seeds_are_too_few(gaps: list[float]) -> None:
    pair = pair_of(gaps, 0.05)
    assert (pair.verdict, pair.within_margin, pair.seeds_more, pair.p) == ("too few seeds", False, None, None)
    assert seeds_more_of(pair) == holm_of(pair) == ""


@pytest.mark.parametrize("gaps", [[0.0, 0.0, 0.0], [0.02, 0.02, 0.02], [0.52 - 0.5, 0.62 - 0.6, 0.72 - 0.7]])
def test_gaps_without_spread_decide_nothing(gaps: list[float]) -> None:
    pair = pair_of(gaps, 0.03)
    assert (pair.verdict, pair.within_margin, pair.seeds_more, pair.p) == ("undecided", False, None, None)
    assert seeds_more_of(pair) == "no spread"


def test_exchanged_policies_have_the_exchanged_verdict() -> None:
    gaps = [0.010, 0.012, 0.030]
    pair, other = pair_of(gaps, 0.003), pair_of([-gap for gap in gaps], 0.003)
    swapped = pair.swapped()
    assert (swapped.policy, swapped.rival) == ("uniform", "erk")
    assert (swapped.gap.low, swapped.gap.high) == pytest.approx((other.gap.low, other.gap.high))
    assert swapped.gap.mean == other.gap.mean
    assert swapped.swapped() == pair


def test_every_two_policies_of_a_cell_are_a_pair_with_holms_correction(tmp_path: Path) -> None:
    uniform = [0.30, 0.32, 0.34, 0.36]
    ahead = {"capacity": [0.10, 0.11, 0.12, 0.11], "erk": [0.05, 0.07, 0.06, 0.03]}
    accuracies = {"uniform": uniform} | {
        policy: [a + gap for a, gap in zip(uniform, gaps, strict=True)] for policy, gaps in ahead.items()
    }
    found = comparison(tmp_path, accuracies, 1.0)
    pairs = {(pair.policy, pair.rival): pair for pair in found.pairs}
    assert found.margin == 0.01
    assert [*pairs] == [("capacity", "erk"), ("capacity", "uniform"), ("erk", "uniform")]
    ps = {policy: float(stats.ttest_1samp(gaps, 0).pvalue) for policy, gaps in ahead.items()}
    assert pairs["capacity", "uniform"].p == pytest.approx(ps["capacity"])
    assert pairs["capacity", "uniform"].holm_p == pytest.approx(2 * ps["capacity"])  # the smaller one of two
    assert pairs["erk", "uniform"].holm_p == pytest.approx(ps["erk"])
    assert pairs["capacity", "erk"].holm_p == pairs["capacity", "erk"].p  # the only pair without uniform
    assert pairs["capacity", "uniform"].seeds == [0, 1, 2, 3]


def test_other_budgets_and_other_settings_are_no_pairs(tmp_path: Path) -> None:
    accuracies = {"uniform": [0.3, 0.31, 0.32], "erk": [0.4, 0.42, 0.43], "lamp": [0.5, 0.52, 0.51]}
    found = comparison(tmp_path, accuracies, 0.3, lamp=520)
    assert [(pair.policy, pair.rival) for pair in found.pairs] == [("erk", "uniform")]
    longer = [outcome("erk", 0.5, seed, 0.5 + seed / 100, finetune=Recipe(epochs=30)) for seed in range(3)]
    shorter = [outcome("uniform", 0.5, seed, 0.5) for seed in range(3)]
    assert compare([study_of(tmp_path / "t", [*longer, *shorter])], 0.3).pairs == []


def test_without_a_margin_there_are_no_pairs(tmp_path: Path) -> None:
    found = comparison(tmp_path, {"uniform": [0.3, 0.31, 0.32], "erk": [0.4, 0.42, 0.43]}, None)
    assert (found.margin, found.pairs) == (None, [])


@pytest.mark.parametrize("margin", [0.0, -0.3, 101.0, math.nan])
def test_a_margin_is_above_0_and_at_most_100(margin: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"margin must be above 0 and at most 100 points .* but got {margin:g}$"):
        comparison(tmp_path, {"uniform": [0.3]}, margin)


def test_each_policy_stands_beside_the_best_one_of_its_cell(tmp_path: Path) -> None:
    accuracies = {"uniform": [0.3, 0.31, 0.32], "erk": [0.4, 0.42, 0.43], "lamp": [0.45, 0.44, 0.47]}
    accuracies["random"] = [0.9, 0.91, 0.92]  # of another budget, so it is not the best
    found = comparison(tmp_path, accuracies, 0.3, random=520)
    best = {policy: each.pair for (_, _, policy), each in against_best(found).items()}
    assert {policy: pair.rival for policy, pair in best.items()} == {"uniform": "lamp", "erk": "lamp"}
    assert best["uniform"].gap.mean == pytest.approx(0.31 - 0.4533333)
    assert best["uniform"].verdict == "worse"


def test_a_policy_with_fewer_seeds_is_not_the_best_and_says_on_how_many_it_is_ahead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last seeds are the easy ones, which erk has not run yet: its mean is lower, and it is ahead on its own."""
    accuracies = {"uniform": [0.3, 0.31, 0.32, 0.9], "lamp": [0.4, 0.41, 0.42, 0.95], "erk": [0.5, 0.51, 0.521]}
    found = comparison(tmp_path, accuracies, 0.3)
    best = {policy: each for (_, _, policy), each in against_best(found).items()}
    assert {policy: (each.pair.rival, each.seeds) for policy, each in best.items()} == {
        "uniform": ("lamp", 4),
        "erk": ("lamp", 4),
    }
    assert verdict_of(*best["erk"]) == "better on 3 of 4 seeds"
    assert verdict_of(*best["uniform"]) == "worse"
    print_comparison(found)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("0.5 erk lamp +10.03 ±") and "better on 3 of 4 seeds" in line for line in lines)


def test_a_high_mean_over_fewer_seeds_makes_no_policy_the_best(tmp_path: Path) -> None:
    """Without this, lamp would be better than the best policy: erk has the higher mean over the easy seeds alone."""
    accuracies = {"uniform": [0.9], "erk": [0.89, 0.88], "lamp": [0.89, 0.89, 0.3, 0.31]}
    best = against_best(comparison(tmp_path, accuracies, 0.3))
    assert {policy: each.pair.rival for (_, _, policy), each in best.items()} == {"uniform": "lamp", "erk": "lamp"}


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 100).map(lambda hits: hits / 100), min_size=1, max_size=5), min_size=2, max_size=4)
)
def test_no_policy_is_better_than_the_best_one_on_all_its_seeds(
    tmp_path_factory: pytest.TempPathFactory, accuracies: list[list[float]]
) -> None:
    found = comparison(
        tmp_path_factory.mktemp("study"), dict(zip(("uniform", "erk", "lamp", "random"), accuracies, strict=False)), 0.3
    )
    for pair, seeds in against_best(found).values():
        assert len(pair.seeds) < seeds or (pair.gap.mean <= 1e-9 and pair.verdict != "better")


def test_the_terminal_shows_each_policy_beside_the_best_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accuracies = {"uniform": [0.3, 0.31, 0.32], "erk": [0.4, 0.42, 0.43], "lamp": [0.45, 0.44, 0.47]}
    print_comparison(comparison(tmp_path, accuracies, 0.3))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("sparsity policy best gap verdict seeds more Holm")
    assert lines[start - 2] == "0.3 points, seeds more that would decide, p after Holm"
    best = against_best(comparison(tmp_path, accuracies, 0.3))
    pairs = {policy: each.pair for (_, _, policy), each in best.items()}
    p = stats.ttest_1samp([0.15, 0.13, 0.15], 0).pvalue  # the larger one of the two with uniform counts once
    half = 100 * stats.t.ppf(0.975, 2) * stats.sem([0.15, 0.13, 0.15])
    assert p == pytest.approx(pairs["uniform"].p)
    assert lines[start + 2] == f"0.5 uniform lamp -14.33 ±{half:.2f} worse {pairs['uniform'].holm_p:.2g}"
    assert lines[start + 3].startswith("0.5 erk lamp -3.67 ±")
    assert lines[start + 3].endswith(f"undecided {pairs['erk'].seeds_more}")
