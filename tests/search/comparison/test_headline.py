"""Headlines and win counts against numbers worked out by hand."""

from pathlib import Path

import pytest

from search.comparison.compare import Comparison, compare
from search.comparison.estimates import Estimate
from search.report.columns import to_columns
from search.report.sections.evidence import gather
from search.report.sections.gap import gap_section
from tests.search.comparison.test_compare import outcome, study_of
from tests.search.reports import study_of as made_up
from tests.search.reports import trial_row
from trainables.outcome import Outcome
from trainables.spec import DenseSpec

ENDS = ("compensated_accuracy_low", "compensated_accuracy_high")


def comparison(path: Path, outcomes: list[Outcome]) -> Comparison:
    return compare([study_of(path / "s", outcomes)])


def grid(gaps: dict[tuple[float, int], float]) -> list[Outcome]:
    """Uniform at 0.3 everywhere, and capacity ahead by these gaps, by sparsity and seed."""
    uniform = [outcome("uniform", s, seed, 0.3) for s, seed in gaps]
    return [*uniform, *(outcome("capacity", s, seed, 0.3 + gap) for (s, seed), gap in gaps.items())]


def test_the_headline_is_the_mean_and_the_largest_gap_over_sparsities(tmp_path: Path) -> None:
    found = comparison(tmp_path, grid({(0.5, 0): 0.1, (0.5, 1): 0.2, (0.9, 0): 0.3, (0.9, 1): 0.6}))
    (headline,) = found.headline.values()
    expected = Estimate.of([0.2, 0.4])
    assert headline.mean_gap == pytest.approx(0.3)
    assert headline.max_gap == pytest.approx(0.45)
    assert headline.max_sparsity == 0.9
    assert (headline.low, headline.high) == pytest.approx((expected.low, expected.high))
    assert (headline.sparsities, headline.seeds, headline.cells, headline.left_out) == ([0.5, 0.9], [0, 1], 4, 0)
    assert headline.one_shot.mean_gap == pytest.approx(0.3 / 4)  # the made trials' share of their best epoch
    assert headline.recalibrated.max_gap == pytest.approx(0.45 / 2)
    assert found.warnings == []


def test_a_seed_that_lacks_a_cell_is_left_out_of_all(tmp_path: Path) -> None:
    found = comparison(tmp_path, grid({(0.5, 0): 0.1, (0.9, 0): 0.3, (0.5, 1): 0.6}))
    headline = found.headline["capacity"]
    assert headline.mean_gap == pytest.approx(0.2)
    assert (headline.seeds, headline.cells, headline.left_out) == ([0], 2, 1)
    assert "1 of 3 cells" in found.warnings[0]


def test_where_no_seed_has_every_cell_there_is_no_headline(tmp_path: Path) -> None:
    found = comparison(tmp_path, grid({(0.5, 0): 0.1, (0.9, 1): 0.3}))
    assert found.headline == {}
    (versus,) = found.versus
    assert (versus.wins, versus.mean_difference, versus.p, versus.holm_p) == (2, None, None, None)


def test_cells_of_other_budgets_count_nowhere(tmp_path: Path) -> None:
    outcomes = [outcome("uniform", s, 0, 0.3) for s in (0.5, 0.9)]
    outcomes += [outcome("capacity", 0.5, 0, 0.4, kept=500), outcome("capacity", 0.9, 0, 0.9, kept=520)]
    found = comparison(tmp_path, outcomes)
    headline = found.headline["capacity"]
    assert headline.mean_gap == pytest.approx(0.1)
    assert headline.max_gap == pytest.approx(0.1)
    assert (headline.sparsities, headline.left_out) == ([0.5], 1)
    (versus,) = found.versus
    assert (versus.wins, versus.ties, versus.losses) == (1, 0, 0)
    gaps = {row.sparsity: row.gap_to_uniform for row in found.rows if row.policy == "capacity"}
    assert gaps[0.9] is None


def test_wins_are_counted_cell_by_cell_and_tested_over_seeds(tmp_path: Path) -> None:
    ahead = {(0.5, 0): 0.1, (0.9, 0): 0.1, (0.5, 1): 0.0, (0.9, 1): 0.2, (0.5, 2): -0.05, (0.9, 2): 0.2}
    (versus,) = comparison(tmp_path, grid(ahead)).versus
    assert (versus.policy, versus.rival) == ("capacity", "uniform")
    assert (versus.wins, versus.ties, versus.losses) == (4, 1, 1)
    assert versus.mean_difference == pytest.approx((0.1 + 0.1 + 0.075) / 3)
    assert (versus.p, versus.smallest_p, versus.holm_p) == (0.25, 0.25, 0.25)  # all three seeds ahead: 2 of 8 flips


def test_every_pair_is_told_once_and_corrected_within_its_family(tmp_path: Path) -> None:
    accuracies = {"uniform": 0.3, "erk": 0.4, "capacity": 0.5}
    outcomes = [outcome(p, 0.5, seed, a + seed / 100) for p, a in accuracies.items() for seed in range(6)]
    versus = {(v.policy, v.rival): v for v in comparison(tmp_path, outcomes).versus}
    assert set(versus) == {("capacity", "erk"), ("capacity", "uniform"), ("erk", "uniform")}
    assert {v.p for v in versus.values()} == {2 / 2**6}
    assert versus["erk", "uniform"].holm_p == 2 * 2 / 2**6
    assert versus["capacity", "erk"].holm_p == 2 / 2**6


def test_networks_are_told_apart_and_together(tmp_path: Path) -> None:
    outcomes = []
    for model, gap in (("small_cnn", 0.1), ("resnet20", 0.3)):
        dense = DenseSpec(model=model)
        outcomes += [outcome("uniform", 0.5, 0, 0.3, dense=dense), outcome("erk", 0.5, 0, 0.3 + gap, dense=dense)]
    headline = comparison(tmp_path, outcomes).headline["erk"]
    assert headline.mean_gap == pytest.approx(0.2)
    assert {name: gap.mean_gap for name, gap in headline.networks.items()} == pytest.approx(
        {"digits: small_cnn": 0.1, "digits: resnet20": 0.3}
    )


def test_criteria_are_never_averaged_together(tmp_path: Path) -> None:
    outcomes = [
        outcome(policy, 0.5, 0, accuracy, criterion=criterion)
        for criterion, gap in (("magnitude", 0.1), ("random", 0.3))
        for policy, accuracy in (("uniform", 0.3), ("erk", 0.3 + gap))
    ]
    found = comparison(tmp_path, outcomes)
    gaps = {name: headline.mean_gap for name, headline in found.headline.items()}
    assert gaps == pytest.approx({"erk, magnitude": 0.1, "erk, random": 0.3})
    assert {row.criterion: row.control for row in found.rows} == {"magnitude": False, "random": True}


def test_a_compensated_network_has_each_accuracy_with_its_interval(tmp_path: Path) -> None:
    """Compensated: uniform 0.50 and 0.54, erk 0.58 and 0.60; ahead by 0.08 and 0.06."""
    compensated = {"uniform": (0.50, 0.54), "erk": (0.58, 0.60)}
    rows = [
        trial_row(
            *(policy, 0.9, seed, 0.8 + accuracy / 10, 2),
            compensation="compensated",
            compensated_accuracy=accuracy,
        )
        for policy, accuracies in compensated.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    folder = made_up(tmp_path, rows)
    found = compare([folder])
    erk = next(row for row in found.rows if row.policy == "erk")
    assert erk.compensated_accuracy == Estimate.of([0.58, 0.60])
    assert (erk.one_shot_accuracy.n, erk.recalibrated_accuracy.n, erk.best_val_accuracy.n) == (2, 2, 2)
    columns = {name: to_columns(found)[name].to_pylist()[1] for name in ("compensated_accuracy", *ENDS)}
    assert [*columns.values()] == [0.59, erk.compensated_accuracy.low, erk.compensated_accuracy.high]
    (headline,) = found.headline.values()
    assert headline.compensated is not None
    assert headline.compensated.mean_gap == pytest.approx(0.07)
    assert (headline.compensated.low, headline.compensated.high) == pytest.approx(
        (Estimate.of([0.08, 0.06]).low, Estimate.of([0.08, 0.06]).high)
    )
    section = gap_section(gather(found, [folder]))
    assert [panel.title for panel in section.groups[""]] == ["one-shot", "recalibrated", "compensated", "recovered"]
    assert ("erk", "compensated", "+7.00") in [row[:3] for row in section.tables[0].rows]


def test_a_network_that_is_not_compensated_has_no_gap_of_it(tmp_path: Path) -> None:
    (headline,) = comparison(tmp_path, grid({(0.5, 0): 0.1, (0.5, 1): 0.2})).headline.values()
    assert headline.compensated is None
