"""Studies whose budget is time, which the study measures or which a table gives."""

import json
from pathlib import Path

import search
from search.comparison.compare import compare
from search.results.folder import StudyFolder
from search.searching.networks import network_of_row
from tests.search.conftest import howcompact, installed
from tests.search.in_process import run_in_process
from tests.search.latency_budgets import of_device
from tests.trainables.trials import DATA
from trainables.latency.table import LatencyTable

SETTINGS = (
    *("granularity=channel", "criteria=[l1]", "budget=latency", "device={name: torch-cpu, batch: 64}", "round_to=4"),
    *("sparsities=[0.3]", "seeds=[0]", "dense.epochs=2", "finetune.epochs=1", "calibration=64", "tracking=off"),
    *("policies=[uniform,rdp,gates,searched]", "gates.epochs=1", "data.max_train=300"),
    *("search.trials=4", "search.warm_start=[uniform]"),
)


def test_a_study_measures_its_device_and_spends_its_time(tmp_path: Path) -> None:
    ran = installed("run", "digits", "--set", *SETTINGS, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "latency tables measured: 1 of 1" in ran.stderr
    assert "latency of small_cnn on torch-cpu (" in ran.stderr
    path = tmp_path / "howcompact-runs" / "digits"
    folder = StudyFolder.open(str(path))
    (table,) = (path.parent / "artifacts" / "latency").glob("*/latency.parquet")
    measured = LatencyTable.from_parquet(table.read_bytes(), "it")
    assert measured.header.batch == 64
    rows = folder.rows()
    assert {row.policy for row in rows} == {"uniform", "rdp", "gates", "searched"}
    assert len({network_of_row(row) for row in rows if row.policy == "searched"}) == 3  # none is trained twice
    for row in rows:
        assert row.device == "torch-cpu"
        assert row.predicted_latency_ms is not None
        assert row.predicted_latency_ms <= 0.7 * measured.dense_ms * 1.2  # the dense network's time as it is predicted
        assert row.latency_ms is not None
        assert row.dense_latency_ms is not None
    predicted = [row.predicted_latency_ms or 0.0 for row in rows]
    assert max(predicted) <= 1.05 * min(predicted)  # all spend the same budget, to the last four channels
    shown = howcompact("compare", str(path), "--out", "page", cwd=tmp_path)
    assert "latency on torch-cpu" in shown.stdout
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Accuracy against latency" in page
    assert "time on torch-cpu (% of dense)" in (tmp_path / "page" / "latency.svg").read_text()
    assert howcompact("verify", str(path), cwd=tmp_path).returncode == 0
    where = ("--where", "latency<=100", "--device", "torch-cpu")
    best = howcompact("best", str(path), *where, "--out", "best", "--json", cwd=tmp_path)
    assert best.returncode == 0, best.stderr
    assert [speed["device"] for speed in json.loads(best.stdout)["speeds"]] == ["torch-cpu"]
    again = installed("run", "digits", "--set", *SETTINGS, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["trials"]["new"] == 0
    assert "latency tables measured" not in again.stderr


def test_a_table_of_another_machine_prices_trials_that_are_not_timed_here(latency_table: Path, tmp_path: Path) -> None:
    folder = run_in_process(tmp_path, of_device(latency_table))
    folder.write_table()
    rows = folder.rows()
    assert [(row.latency_ms, row.device) for row in rows] == [(None, "")] * 2
    assert all(row.predicted_latency_ms for row in rows)
    (cells,) = [compare([folder]).rows]
    assert [row.warnings for row in cells] == [[], []]  # budgets match by the table
    assert {row.latency_ms for row in cells} == {None}
    assert search.verify(folder.folder.uri, sample=0).problems == []


def test_blocks_spend_time_too(tmp_path: Path) -> None:
    data = DATA.model_copy(update={"size": 16})
    settings = {"models": ["resnet20"], "width": 0.25, "granularity": "block", "round_to": 1, "data": data}
    study = of_device("torch-cpu", **settings, criteria=["l1"], policies=["uniform"])
    (row,) = run_in_process(tmp_path, study).rows()
    assert row.predicted_latency_ms is not None
    assert row.latency_ms is not None
    assert min(row.parts.values()) < 1
