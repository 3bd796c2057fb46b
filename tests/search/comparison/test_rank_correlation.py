"""How well accuracy before fine-tuning ranks: against hand-worked ranks, scipy and a plain loop."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from search.comparison.compare import compare
from search.comparison.estimates import Estimate
from search.comparison.rank_correlation import bounded, rank_correlation, rankings
from search.report.sections.evidence import gather
from search.report.sections.ranking import ranking_section
from search.results.rows import TrialRow
from tests.search.reports import study_of, trial_row


def search_of(seed: int, first: Sequence[float], final: Sequence[float], **given: object) -> list[TrialRow]:
    """A search that started from uniform."""
    return [
        trial_row(policy, 0.9, seed, last, 2, recalibrated_accuracy=begun, trial=f"{seed}-{number}", **given)
        for number, (begun, last) in enumerate(zip(first, final, strict=True))
        for policy in ["searched" if number else "uniform"]
    ]


def test_a_hand_worked_correlation() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: squared differences of 2 in all, 1 - 6 x 2 / (4 x 15)."""
    assert rank_correlation([0.1, 0.2, 0.3, 0.9], [0.4, 0.6, 0.5, 0.7]) == pytest.approx(0.8)
    assert rank_correlation([0.1, 0.2, 0.3], [0.6, 0.5, 0.4]) == pytest.approx(-1)


@pytest.mark.parametrize(("one", "other"), [([0.1, 0.2], [0.3, 0.4]), ([0.1] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])])
def test_what_has_no_order_has_no_correlation(one: list[float], other: list[float]) -> None:
    assert rank_correlation(one, other) is None
    assert rank_correlation(other, one) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_ties_share_their_mean_rank(pairs: list[tuple[int, int]]) -> None:
    def ranks(values: Sequence[int]) -> list[float]:
        return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]

    one, other = zip(*pairs, strict=True)
    found = rank_correlation(one, other)
    if found is None:
        assert len(set(one)) == 1 or len(set(other)) == 1
    else:
        assert found == pytest.approx(np.corrcoef(ranks(one), ranks(other))[0, 1], abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_an_interval_ends_where_means_do(values: list[float]) -> None:
    found, free = bounded(values, -1), Estimate.of(values)
    assert found.low is not None
    assert found.high is not None
    assert (found.low, found.high) == tuple(np.clip([free.low, free.high], -1, 1))
    assert found.model_copy(update={"low": free.low, "high": free.high}) == free


def test_pooled_correlations_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for seed, trials in enumerate((8, 12, 20)):
        first = rng.uniform(0.1, 0.8, trials)
        final = first + rng.normal(0, 0.2, trials)
        rows += search_of(seed, first.tolist(), final.tolist())
        expected.append(float(spearmanr(first, final).statistic))
    (row,) = rankings(rows, ["uniform"])
    assert row.correlation.mean == Estimate.of(expected).mean
    assert row.correlation.high == min(1.0, Estimate.of(expected).high or 1.0)
    assert (row.seeds, row.trials) == ([0, 1, 2], 40)


def test_only_finished_and_fine_tuned_trials_of_searches_are_ranked() -> None:
    good = search_of(0, [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])
    odd = {"recalibrated_accuracy": 0.9}
    others = [
        trial_row("searched", 0.9, 0, 0.1, 2, trial="stopped", status="stopped", **odd),
        trial_row("searched", 0.9, 0, 0.1, 2, trial="not tuned", epochs=1, **odd),
        trial_row("lamp", 0.9, 0, 0.1, 2, trial="no start", **odd),
        trial_row("uniform", 0.9, 1, 0.1, 2, trial="no search", **odd),
        *search_of(2, [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]),
    ]
    (row,) = rankings([*good, *others], ["uniform"])
    assert row.correlation.mean == pytest.approx(1)
    assert (row.seeds, row.trials) == ([0], 4)
    assert rankings([row.model_copy(update={"epochs": 1}) for row in good], ["uniform"]) == []


def test_the_section_shows_what_was_ranked(tmp_path: Path) -> None:
    rows = search_of(0, [0.1, 0.2, 0.3, 0.4], [0.6, 0.5, 0.7, 0.8])
    folder = study_of(tmp_path, rows, search={"warm_start": ["uniform"]})
    section = ranking_section(gather(compare([folder]), [folder]))
    ((panel,),) = section.groups.values()
    assert panel.title == "recalibrated, sparsity 0.9: ρ 0.80"
    (shown,) = section.tables[0].rows
    assert shown[1:] == ("recalibrated", "0.9", "0.80", "4", "0")


def test_compensated_trials_are_ranked_by_both_first_accuracies(tmp_path: Path) -> None:
    rows = search_of(0, [0.1, 0.2, 0.3, 0.4], [0.6, 0.5, 0.7, 0.8])
    repaired = [
        row.model_copy(update={"compensated_accuracy": accuracy, "compensation": "compensated"})
        for row, accuracy in zip(rows, [0.4, 0.3, 0.2, 0.0], strict=True)  # an accuracy of 0 is an accuracy
    ]
    folder = study_of(tmp_path, repaired, search={"warm_start": ["uniform"]})
    section = ranking_section(gather(compare([folder]), [folder]))
    shown = {row[1]: row[3] for row in section.tables[0].rows}
    assert shown == {"recalibrated": "0.80", "compensated": "-0.80"}
    ((first, second),) = section.groups.values()
    assert [panel.title.partition(",")[0] for panel in (first, second)] == ["recalibrated", "compensated"]


def test_without_fine_tuned_searches_the_section_says_so(tmp_path: Path) -> None:
    folder = study_of(tmp_path, [trial_row("erk", 0.5, seed, 0.8, 2) for seed in range(2)], policies=["erk"])
    section = ranking_section(gather(compare([folder]), [folder]))
    assert not section.groups
    assert len(section.text) > 40
