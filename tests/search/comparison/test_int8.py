"""int8 files beside float32 in comparisons: estimates, tables, the page, columns, MLflow and the status."""

from pathlib import Path
from typing import Any

import pytest

from search.cli.comparison_tables import print_comparison
from search.comparison.compare import Comparison, compare
from search.comparison.estimates import Estimate
from search.report.columns import to_columns
from search.report.notebook import Compared
from search.report.sections.accuracy import sparsity_section
from search.report.sections.evidence import gather
from search.results.folder import StudyFolder
from search.results.rows import from_parquet, from_table, published, to_table
from search.tracking.watcher import finished_trial
from search.verification.comparisons import problems_of
from tests.search.reports import study_of, trial_row
from trainables.data_spec import DataSpec
from trainables.outcome import Outcome, Quantised
from trainables.spec import DenseSpec, EpochReport, TrialSpec
from trainables.storage.columns import to_parquet
from trainables.task_spec import MetricSpec, TaskSpec

ACCURACIES = {"uniform": (0.80, 0.82), "erk": (0.86, 0.84)}
SIZES = {"quantised_bytes": 4000, "exported_bytes": 9000, "quantised_latency_ms": 0.25, "exported_latency_ms": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """Two policies over two seeds; int8 costs half a point, and a file of seed 1 has 200 bytes more."""
    rows = [
        trial_row(policy, 0.9, seed, accuracy, 2).model_copy(
            update={**SIZES, "quantised_bytes": 4000 + 200 * seed, "quantised_accuracy": accuracy - 0.005}
        )
        for policy, accuracies in ACCURACIES.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return study_of(tmp_path, rows)


@pytest.fixture
def found(folder: StudyFolder) -> Comparison:
    return compare([folder])


def test_a_row_has_the_accuracy_with_its_interval_and_mean_sizes(folder: StudyFolder, found: Comparison) -> None:
    (row,) = (row for row in found.rows if row.policy == "erk")
    assert row.quantised_accuracy is not None
    assert row.quantised_accuracy.mean == pytest.approx(0.845)
    assert row.quantised_accuracy == Estimate.of([0.86 - 0.005, 0.84 - 0.005])
    assert {name: getattr(row, name) for name in SIZES} == SIZES | {"quantised_bytes": 4100}
    columns = to_columns(found)
    assert columns["quantised_accuracy"].to_pylist()[1] == pytest.approx(0.845)
    assert columns["quantised_accuracy_low"].to_pylist()[1] == row.quantised_accuracy.low
    rows = {trial.trial: trial for trial in folder.rows()}
    assert problems_of(found, rows) == []
    key = row.trial_keys[0]
    wrong = rows | {key: rows[key].model_copy(update={"quantised_accuracy": 0.1})}
    assert "quantised_accuracy is 0.845" in problems_of(found, wrong)[0]


def test_the_terminal_the_page_and_the_notebook_show_them(
    folder: StudyFolder, found: Comparison, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    print_comparison(found)
    printed = capsys.readouterr().out
    title, _, table = printed.partition("int8 ONNX files beside float32")
    assert title
    (line,) = (line for line in table.splitlines() if line.split()[:2] == ["0.9", "erk"])
    assert line.split()[2:] == ["85.0", "±12.7", "84.5", "±12.7", "9,000", "4,100", "0.50", "0.25"]
    section = sparsity_section(gather(found, [folder]))
    (panels,) = section.groups.values()
    assert [panel.title for panel in panels] == ["one-shot", "recalibrated", "fine-tuned", "int8"]
    reached, files = section.tables
    assert "int8" in reached.head
    assert ("erk", "0.9", "9,000", "4,100", "0.50", "0.25") in [(*row[1:3], *row[5:]) for row in files.rows]
    page = Compared.model_validate(found.model_dump())._repr_html_()
    assert "int8" in page
    assert "84.5" in page


def test_columns_of_latency_come_with_latency(
    folder: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untimed = {"quantised_latency_ms": None, "exported_latency_ms": None}
    found = compare([study_of(tmp_path / "untimed", [row.model_copy(update=untimed) for row in folder.rows()])])
    print_comparison(found)
    printed = capsys.readouterr().out
    assert "int8 bytes" in printed
    assert "int8 ms" not in printed


def test_without_int8_files_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study_of(tmp_path, [trial_row("uniform", 0.9, 0, 0.8, 2)])
    found = compare([folder])
    print_comparison(found)
    assert "int8" not in capsys.readouterr().out
    section = sparsity_section(gather(found, [folder]))
    assert "int8" not in [panel.title for panels in section.groups.values() for panel in panels]
    assert len(section.tables) == 1
    assert [getattr(found.rows[0], name) for name in ("quantised_accuracy", *SIZES)] == [None] * 5


def outcome(**task: Any) -> Outcome:
    report = EpochReport(epoch=0, val_accuracy=0.9, val_loss=1.0, seconds=2.0, images=10)
    quantised = Quantised(quantised_accuracy=0.8, quantised_seconds=3.0, quantised_images=5, **SIZES)
    spec = TrialSpec(dense=DenseSpec(data=DataSpec(**task)), quantise="int8")
    return Outcome(spec=spec, status="done", history=(report,), quantised=quantised)


def test_mlflow_and_columns_have_them_under_the_name_of_the_metric() -> None:
    metrics = finished_trial(outcome()).metrics
    assert (
        metrics.items() >= {"quantised_accuracy": 0.8, "quantised_bytes": 4000.0, "quantised_latency_ms": 0.25}.items()
    )
    of_task = outcome(task=TaskSpec(function="a:b", metric=MetricSpec(name="r2")))
    assert finished_trial(of_task).metrics["quantised_r2"] == 0.8


def test_results_of_an_older_version_have_none(folder: StudyFolder) -> None:
    rows = folder.rows()
    table = published(to_table(rows)).drop_columns(["quantised_accuracy", *SIZES, "quantised_seconds"])
    old = from_table(from_parquet(to_parquet(table)))
    assert {row.quantised_accuracy for row in old} == {None}
    assert len(old) == len(rows)
