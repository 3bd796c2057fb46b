"""A metric other than accuracy: its name in columns and JSON, and its direction wherever results are compared."""

import json
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from search.cli.comparison_tables import print_comparison
from search.cli.terminal import WIDTH
from search.comparison.best_rivals import against_best
from search.comparison.compare import Comparison, compare
from search.report.columns import to_columns
from search.results.constraints import conditions, ranking_field
from search.results.folder import StudyFolder
from search.results.rows import TABLE, row_of
from search.results.scale import PERCENT, public_name, scale_of
from search.results.status import status_of
from search.results.to_json import to_json
from search.retrieval.choosing import BestRequest, choose, choose_front
from search.searching.search_history import SearchHistory
from search.study.search_spec import SearchSpec
from search.tracking.watcher import finished_trial
from search.verification.comparisons import problems_of
from tests.search.comparison.test_compare import outcome, study_of
from trainables.data_spec import DataSpec
from trainables.outcome import Outcome
from trainables.spec import DenseSpec
from trainables.task_spec import MetricSpec, TaskSpec

PERPLEXITY = TaskSpec(function="text:docs", code="0" * 16, metric=MetricSpec(name="perplexity", higher_is_better=False))
VALUES = {"uniform": (9.0, 9.5, 9.25), "lamp": (8.0, 8.0, 8.75), "erk": (12.0, 11.0, 14.0)}


def of_text(policy: str, seed: int, value: float, sparsity: float = 0.5) -> Outcome:
    """Make a trial whose perplexity falls to `value` and then rises."""
    dense = DenseSpec(seed=seed, data=DataSpec(task=PERPLEXITY))
    done = outcome(policy, sparsity, seed, value, dense=dense)
    curve = (2 * value, value, value + 1)
    history = tuple(
        report.model_copy(update={"val_accuracy": reached}) for report, reached in zip(done.history, curve, strict=True)
    )
    assert done.facts is not None
    before = {"dense_accuracy": 7.0, "one_shot_accuracy": 3 * value, "recalibrated_accuracy": 2 * value}
    return done.model_copy(update={"history": history, "facts": done.facts.model_copy(update=before)})


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    outcomes = [of_text(policy, seed, value) for policy, own in VALUES.items() for seed, value in enumerate(own)]
    found = study_of(tmp_path / "s", outcomes, task="text:docs", data={"task": PERPLEXITY.model_dump()})
    found.write_table()
    return found


@pytest.fixture
def compared(folder: StudyFolder) -> Comparison:
    return compare([folder], margin=0.1)


def test_lower_is_better_in_every_comparison(folder: StudyFolder, compared: Comparison) -> None:
    rows = {row.policy: row for row in compared.rows}
    assert rows["lamp"].best_val_accuracy.mean == pytest.approx(8.25)  # the lowest epoch of each seed
    gap = rows["lamp"].gap_to_uniform
    assert gap is not None
    assert gap.mean == pytest.approx(1.0)  # ahead
    assert compared.headline["lamp"].mean_gap == pytest.approx(1.0)
    assert compared.headline["erk"].one_shot.mean_gap == pytest.approx(3 * (9.25 - 37 / 3))
    (versus,) = (each for each in compared.versus if (each.policy, each.rival) == ("erk", "uniform"))
    assert (versus.wins, versus.losses, versus.metric) == (0, 3, "perplexity")
    verdicts = {(pair.policy, pair.rival): pair.verdict for pair in compared.pairs}
    assert verdicts["erk", "lamp"] == "worse"
    assert {policy for (_, _, policy) in against_best(compared)} == {"uniform", "erk"}  # lamp is the best
    assert status_of(folder).best.keys() == VALUES.keys()
    assert problems_of(compared, {row.trial: row for row in folder.rows()}) == []


def test_the_best_network_has_the_lowest_value(folder: StudyFolder) -> None:
    rows = folder.rows()
    best = choose(rows, BestRequest(), lambda row: 1.0)
    assert (best.policy, best.best_val_accuracy) == ("lamp", 8.0)
    at_least_nine = choose(
        rows, BestRequest(metric="best_val_perplexity", where=["best_val_perplexity>=9"]), lambda _: 1.0
    )
    assert at_least_nine.best_val_accuracy == 9.0
    assert {row.best_val_accuracy for row in choose_front(rows, BestRequest(), lambda row: 1.0)} == {8.0}
    with pytest.raises(ValueError, match="best_val_perplexity"):
        ranking_field("best_val_perplexit", rows)
    with pytest.raises(ValueError, match="did you mean"):
        conditions(["val_perplexity<9"], rows)


def test_columns_and_json_have_the_name_of_the_metric(folder: StudyFolder, compared: Comparison) -> None:
    columns = pq.read_table(Path(folder.folder.uri.removeprefix("file://")) / TABLE)
    assert not [name for name in columns.column_names if "accuracy" in name]
    assert columns["best_val_perplexity"].to_pylist() == columns["val_perplexity"].to_pylist()
    assert b"perplexity of the best epoch" in columns.schema.field("best_val_perplexity").metadata[b"description"]
    assert sorted(row.best_val_accuracy or 0.0 for row in folder.rows()) == sorted(
        v for own in VALUES.values() for v in own
    )
    written = json.loads(to_json(compared))
    assert {"dense_perplexity", "best_val_perplexity", "metric"} <= written["rows"][0].keys()
    assert "accuracy" not in json.dumps(written)
    assert {"best_val_perplexity", "best_val_perplexity_low"} <= {*to_columns(compared).column_names}


def with_accuracy(seed: int, value: float) -> Outcome:
    """Make a trial of lamp that also has the accuracy, 0.25 in each epoch."""
    done = of_text("lamp", seed, value)
    history = tuple(report.model_copy(update={"other_metrics": {"accuracy": 0.25}}) for report in done.history)
    return done.model_copy(update={"history": history})


def test_accuracy_as_another_metric_hides_no_value_of_the_metric(tmp_path: Path) -> None:
    text = study_of(tmp_path / "s", [with_accuracy(*of) for of in enumerate(VALUES["lamp"])], task="text:docs")
    columns = to_columns(compare([text]))
    assert columns["best_val_perplexity"].to_pylist() == pytest.approx([8.25])
    assert columns["best_val_accuracy"].to_pylist() == [0.25]
    images = study_of(tmp_path / "images", [outcome("uniform", 0.5, seed, 0.9) for seed in range(3)])
    assert sorted(to_columns(compare([text, images]))["best_val_accuracy"].to_pylist()) == pytest.approx([0.9, 8.25])


def test_accuracy_as_another_metric_hides_no_epoch_in_mlflow() -> None:
    told = finished_trial(with_accuracy(0, 8.0))
    assert [epoch["val_perplexity"] for epoch in told.epochs.values()] == [16.0, 8.0, 9.0]
    assert [epoch["val_accuracy"] for epoch in told.epochs.values()] == [0.25] * 3
    assert (told.metrics["best_val_perplexity"], told.metrics["best_val_accuracy"]) == (8.0, 0.25)


def test_accuracy_keeps_its_names() -> None:
    row = row_of(outcome("uniform", 0.5, 0, 0.9))
    assert (row.metric, row.higher_is_better) == ("accuracy", True)
    assert '"best_val_accuracy":0.9' in to_json(row)
    assert public_name("best_val_accuracy", "accuracy") == "best_val_accuracy"
    data = DataSpec(task=PERPLEXITY)  # settings that say what the metric is stay as they are
    assert DataSpec.model_validate({n: v for n, v in json.loads(to_json(data)).items() if n != "format"}) == data
    assert public_name("macs_kept", "r2") == "macs_kept"


def test_values_are_written_on_the_scale_of_their_metric() -> None:
    assert (PERCENT.text(0.9431), PERCENT.axis, PERCENT.ahead) == ("94.3 %", "accuracy (%)", "accuracy in points")
    assert (scale_of("r2").text(0.4213), scale_of("r2").axis, scale_of("r2").ahead) == ("0.421", "r2", "r2")
    assert (PERCENT.difference(0.003), scale_of("r2").difference(0.05)) == ("0.3 points", "0.05")


def test_a_margin_is_of_one_metric(folder: StudyFolder, tmp_path: Path) -> None:
    images = study_of(tmp_path / "images", [outcome("uniform", 0.5, seed, 0.9) for seed in range(3)])
    assert len(compare([folder, images]).rows) == 4
    with pytest.raises(ValueError, match="margin must be of one metric, but the studies have accuracy, perplexity"):
        compare([folder, images], margin=0.1)
    with pytest.raises(ValueError, match="margin must be above 0, in the unit of perplexity, but got -1"):
        compare([folder], margin=-1.0)


def test_long_names_of_policies_leave_room_for_the_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trial(compensate: bool, recovery: str, seed: int, value: float) -> Outcome:
        done = of_text("capacity-functional", seed, value)
        assert done.facts is not None
        facts = done.facts.model_copy(update={"compensated_accuracy": value if compensate else None})
        spec = done.spec.model_copy(update={"compensate": compensate, "recovery": recovery})
        return done.model_copy(update={"spec": spec, "facts": facts})

    ways = list(product((True, False), ("finetune", "scratch-b"), enumerate((8.125, 9.25, 8.75))))
    outcomes = [trial(compensate, recovery, *each) for compensate, recovery, each in ways]
    data = {"task": PERPLEXITY.model_dump()}
    print_comparison(compare([study_of(tmp_path / "s", outcomes, task="text:docs", data=data)]))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert printed.count(" 26.125 ±4.201 ") == len(ways) / 3  # three times the mean of the values, one-shot
    assert max(map(len, printed.splitlines())) <= WIDTH


def test_a_search_minimises_what_is_better_low() -> None:
    cell = of_text("searched", 0, 8.0).spec
    history = SearchHistory("searched", [cell], SearchSpec(goals=("best_val_accuracy", "macs")))
    assert (history.goals, history.directions) == (["best_val_perplexity", "macs"], ["minimize", "minimize"])
    plain = SearchHistory("searched", [outcome("searched", 0.5, 0, 0.9).spec], SearchSpec())
    assert (plain.goals, plain.directions) == (["best_val_accuracy"], ["maximize"])
