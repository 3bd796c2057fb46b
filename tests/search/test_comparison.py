"""Comparisons against numbers worked out by hand and by scipy."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search.comparison import Estimate, compare
from search.results import StudyFolder, from_parquet, row_of, to_parquet
from search.study import StudySpec
from search.tables import network_of
from trainables.outcome import Facts, Outcome
from trainables.spec import DenseSpec, EpochReport, Recipe, Schedule, TrialSpec
from trainables.storage import Folder
from trainables.trial import write_outcome


def outcome(policy: str, sparsity: float, seed: int, accuracy: float, kept: int = 500, **changes: object) -> Outcome:
    """Make a finished trial whose best epoch is the second of three."""
    spec = TrialSpec(dense=DenseSpec(seed=seed), policy=policy, sparsity=sparsity).model_copy(update=changes)
    accuracies = (accuracy / 2, accuracy, accuracy - 0.01)
    reports = [EpochReport(epoch=e, val_accuracy=a, val_loss=1.0, seconds=2.0) for e, a in enumerate(accuracies)]
    facts = Facts(
        dense_accuracy=0.9,
        one_shot_accuracy=accuracy / 4,
        recalibrated_accuracy=accuracy / 2,
        params_total=1000,
        params_kept=kept,
        macs_total=9000,
        macs_kept=kept * 9,
        layers={"a": kept / 1000},
        parts={"a": kept / 1000},
        allocation_seconds=0.25,
        profile_seconds=3.0,
        prune_seconds=1.0,
        hardware="cpu",
    )
    return Outcome(spec=spec, status="done", facts=facts, history=tuple(reports))


def study_of(path: Path, outcomes: list[Outcome], **settings: object) -> StudyFolder:
    """Write a study folder that holds these trials."""
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(StudySpec.model_validate({"name": "s", **settings}))
    for done in outcomes:
        write_outcome(folder.trial(done.spec.key()), done)
    return folder


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_an_interval_is_scipys(values: list[float]) -> None:
    estimate = Estimate.of(values)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    if deviation > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=deviation / len(values) ** 0.5)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
    assert estimate.sd == pytest.approx(deviation, abs=1e-9)


def test_one_seed_has_no_interval() -> None:
    assert Estimate.of([0.5]) == Estimate(mean=0.5)


def test_gaps_are_paired_by_seed(tmp_path: Path) -> None:
    uniform = [outcome("uniform", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.5, 0.6, 0.7))]
    capacity = [outcome("capacity", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.52, 0.62, 0.72))]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "s", [*uniform, *capacity])]).rows}
    gap = rows["capacity"].gap_to_uniform
    assert gap is not None
    assert gap.mean == pytest.approx(0.02)
    assert gap.sd == pytest.approx(0.0, abs=1e-12)
    assert rows["capacity"].val_accuracy.sd == pytest.approx(0.1)


def test_the_headline_is_the_mean_and_the_largest_gap_over_sparsities(tmp_path: Path) -> None:
    gaps = {(0.5, 0): 0.1, (0.5, 1): 0.2, (0.9, 0): 0.3, (0.9, 1): 0.6}
    outcomes = [outcome("uniform", s, seed, 0.3) for s, seed in gaps]
    outcomes += [outcome("capacity", s, seed, 0.3 + gap) for (s, seed), gap in gaps.items()]
    headline = compare([study_of(tmp_path / "s", outcomes)]).headline
    assert set(headline) == {"capacity"}
    assert headline["capacity"].mean_gap == pytest.approx(0.3)
    assert headline["capacity"].max_gap == pytest.approx(0.45)
    expected = Estimate.of([0.2, 0.4])
    assert (headline["capacity"].low, headline["capacity"].high) == pytest.approx((expected.low, expected.high))


def test_a_search_reaches_the_best_of_all_it_saw_and_pays_for_all(tmp_path: Path) -> None:
    starts = [outcome("uniform", 0.5, 0, 0.5), outcome("capacity", 0.5, 0, 0.8)]
    own = [outcome("searched", 0.5, 0, accuracy, densities={"a": accuracy}) for accuracy in (0.6, 0.7)]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "s", [*starts, *own])]).rows}
    assert rows["searched"].val_accuracy.mean == 0.8
    assert rows["searched"].trial_keys == rows["capacity"].trial_keys
    assert rows["searched"].trials == 4
    assert rows["searched"].search_cost_seconds == pytest.approx(4 * (1.0 + 2 * 2.0 + 3.0))
    assert rows["capacity"].search_cost_seconds == pytest.approx(0.25 + 3.0)


def test_a_budget_that_differs_by_more_than_a_percent_is_marked(tmp_path: Path) -> None:
    close = [outcome("uniform", 0.5, 0, 0.5, kept=500), outcome("capacity", 0.5, 0, 0.5, kept=496)]
    assert not any(row.warnings for row in compare([study_of(tmp_path / "close", close)]).rows)
    far = [outcome("uniform", 0.5, 0, 0.5, kept=500), outcome("capacity", 0.5, 0, 0.5, kept=494)]
    assert all("params kept differ" in row.warnings[0] for row in compare([study_of(tmp_path / "far", far)]).rows)


def test_unequal_training_is_marked_and_never_averaged(tmp_path: Path) -> None:
    short = outcome("uniform", 0.5, 0, 0.5)
    long = outcome("uniform", 0.5, 1, 0.9, finetune=Recipe(epochs=30))
    rows = compare([study_of(tmp_path / "s", [short, long])]).rows
    assert sorted(row.val_accuracy.mean for row in rows) == [0.5, 0.9]
    assert all("trained or pruned unlike" in row.warnings[0] for row in rows)


def test_recoveries_are_paired_and_averaged_each_by_itself(tmp_path: Path) -> None:
    reached = {("uniform", "finetune"): 0.5, ("erk", "finetune"): 0.6, ("uniform", "scratch"): 0.7}
    reached[("erk", "scratch")] = 0.9
    outcomes = [
        outcome(policy, 0.5, seed, accuracy + seed / 100, recovery=recovery)
        for (policy, recovery), accuracy in reached.items()
        for seed in range(2)
    ]
    found = compare([study_of(tmp_path / "s", outcomes)])
    rows = {(row.policy, row.recovery): row for row in found.rows}
    assert {key: row.val_accuracy.mean - 0.005 for key, row in rows.items()} == pytest.approx(reached)
    gaps = {recovery: row.gap_to_uniform for (policy, recovery), row in rows.items() if policy == "erk"}
    assert {recovery: gap.mean for recovery, gap in gaps.items() if gap} == pytest.approx(
        {"finetune": 0.1, "scratch": 0.2}
    )
    assert {name: h.mean_gap for name, h in found.headline.items()} == pytest.approx(
        {"erk, finetune": 0.1, "erk, scratch": 0.2}
    )
    assert not any(row.warnings for row in found.rows)
    assert {network_of(row) for row in found.rows} == {
        *("small_cnn, weights by magnitude, finetune", "small_cnn, weights by magnitude, scratch")
    }


def test_a_schedule_is_told_by_its_name(tmp_path: Path) -> None:
    stepwise = outcome("uniform", 0.5, 0, 0.5, schedule=Schedule(name="gradual", steps=3))
    rows = compare([study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.6), stepwise])]).rows
    assert sorted(row.schedule for row in rows) == ["gradual", "one-shot"]
    assert "small_cnn, weights by magnitude, gradual, finetune" in map(network_of, rows)
    assert not any(row.warnings for row in rows)


def test_missing_seeds_are_marked(tmp_path: Path) -> None:
    outcomes = [outcome("uniform", 0.5, 0, 0.5), outcome("uniform", 0.5, 1, 0.6), outcome("capacity", 0.5, 1, 0.7)]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "s", outcomes)]).rows}
    assert rows["capacity"].warnings == ["seeds differ from uniform's"]
    gap = rows["capacity"].gap_to_uniform
    assert gap is not None
    assert gap.mean == pytest.approx(0.1)
    assert gap.low is None


def test_failed_trials_are_left_out(tmp_path: Path) -> None:
    failed = Outcome(spec=TrialSpec(policy="capacity"), status="failed", error="loss")
    rows = compare([study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.5), failed])]).rows
    assert [row.policy for row in rows] == ["uniform"]


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finished trials"):
        compare([study_of(tmp_path / "s", [])])


def test_rows_survive_parquet() -> None:
    rows = [row_of(outcome("uniform", 0.5, 0, 0.5)), row_of(Outcome(spec=TrialSpec(), status="failed", error="x"))]
    rows.append(row_of(outcome("erk", 0.5, 0, 0.5, recovery="rewind", schedule=Schedule(name="iterative", steps=2))))
    assert from_parquet(to_parquet(rows)) == rows


def test_a_table_from_before_there_were_recoveries_is_read() -> None:
    row = row_of(outcome("uniform", 0.5, 0, 0.5))
    told = pq.read_table(io.BytesIO(to_parquet([row]))).drop_columns(["recovery", "schedule"])
    sink = io.BytesIO()
    pq.write_table(told, sink)
    assert from_parquet(sink.getvalue()) == [row]


def test_a_failed_trial_is_read_anew_and_a_finished_one_from_the_table(tmp_path: Path) -> None:
    failed = Outcome(spec=TrialSpec(), status="failed", error="x")
    folder = study_of(tmp_path / "s", [failed, outcome("capacity", 0.5, 0, 0.5)])
    assert {row.status for row in folder.write_table()} == {"failed", "done"}
    write_outcome(folder.trial(failed.spec.key()), outcome("uniform", 0.5, 0, 0.7))
    (tmp_path / "s" / "trials" / TrialSpec(policy="capacity").key() / "outcome.json").unlink()
    assert sorted(row.status for row in folder.rows()) == ["done", "done"]
