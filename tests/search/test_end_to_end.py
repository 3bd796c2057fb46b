"""From the installed command to a compared search and a verified checkpoint."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from mlflow.tracking import MlflowClient

from tests.search.conftest import SMALL, Run, howcompact
from tests.search.mlflow_server import data_sets_of
from tests.test_readme import BLOCKS, output_of
from trainables import load_pruned
from trainables.checkpoints.checkpoint import load
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.storage.folder import Folder
from trainables.storage.sealed_json import unsealed


def test_a_run_tells_what_it_did(small_run: Run) -> None:
    assert small_run.summary["trials"] == {"total": 20, "done": 20, "new": 20, "failed": 0, "stopped": 0}
    assert small_run.summary["best"]["best_val_accuracy"] > 0.5
    assert small_run.folder == small_run.home / "howcompact-runs" / "digits"
    assert small_run.summary["trial_seconds"] > 0


def test_a_comparison_shows_every_policy_at_the_same_budget(small_run: Run) -> None:
    told = small_run.json_of("compare", str(small_run.folder), "--out", "page")
    rows = {(row["policy"], row["sparsity"]): row for row in told["rows"]}
    assert set(rows) == {(p, s) for p in ("uniform", "erk", "capacity", "searched") for s in (0.5, 0.9)}
    for sparsity in (0.5, 0.9):
        kept = {rows[policy, sparsity]["params_kept"] for policy in ("uniform", "capacity", "searched")}
        assert len(kept) == 1
        best_named = max(
            rows[policy, sparsity]["best_val_accuracy"]["mean"] for policy in ("uniform", "erk", "capacity")
        )
        assert rows["searched", sparsity]["best_val_accuracy"]["mean"] >= best_named
    row = rows["capacity", 0.9]
    assert row["seeds"] == [0, 1]
    assert row["trials"] == 2
    assert rows["searched", 0.9]["trials"] == 10
    assert rows["searched", 0.9]["search_cost_seconds"] > row["search_cost_seconds"]
    assert row["best_val_accuracy"]["low"] <= row["best_val_accuracy"]["mean"] <= row["best_val_accuracy"]["high"]
    assert set(told["headline"]) == {"capacity", "erk", "searched"}
    page = (small_run.home / "page" / "index.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert (small_run.home / "page" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_checkpoint_is_that_of_the_best_epoch_and_verified(small_run: Run) -> None:
    told = small_run.json_of("best", str(small_run.folder), "--where", "sparsity>=0.9", "--out", "taken/")
    assert told["verified_accuracy"] == pytest.approx(told["reported_accuracy"], abs=1e-9)
    assert told["sparsity"] == 0.9
    outcome = json.loads((small_run.folder / "trials" / told["trial"] / "outcome.json").read_text())
    assert told["reported_accuracy"] == max(report["val_accuracy"] for report in outcome["history"])
    assert {path.name for path in (small_run.home / "taken").iterdir()} == {
        "manifest.json",
        "network.safetensors",
        "record.json",
    }
    model = load_pruned(str(small_run.home / "taken"))
    record = load(Folder.at(str(small_run.home / "taken"))).record
    assert record["reported_accuracy"] == told["reported_accuracy"]
    val = sources.load(DataSpec.model_validate(record["data"])).val
    weights = {name: module for name, module in model.named_modules() if name in told["layers"]}
    for name, density in told["layers"].items():
        weight = weights[name].weight
        assert isinstance(weight, torch.Tensor)
        assert int((weight != 0).sum()) <= round(density * weight.numel())
    assert model(torch.zeros(2, *val.images.shape[1:])).shape == (2, 10)


def test_a_damaged_checkpoint_is_refused_and_leaves_nothing(small_run: Run, tmp_path: Path) -> None:
    trial = small_run.json_of("best", str(small_run.folder), "--out", "whole")["trial"]
    epochs = list((small_run.folder / "trials" / trial).glob("epoch-*/network.safetensors"))
    kept = {path: path.read_bytes() for path in epochs}
    try:
        for path, content in kept.items():
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        done = howcompact("best", str(small_run.folder), "--out", str(tmp_path / "new"), cwd=tmp_path)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert done.returncode == 2
    assert done.stderr.startswith("error: network.safetensors of checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_status_counts_what_is_there(small_run: Run) -> None:
    told = small_run.json_of("status", str(small_run.folder))
    assert told["trials"] == {"total": 20, "done": 20, "stopped": 0, "failed": 0, "unfinished": 0, "missing": 0}
    assert told["epochs"] == 20 * 3
    assert told["seconds_left"] == 0


def test_the_table_is_parquet_that_others_read(small_run: Run) -> None:
    table = pq.read_table(small_run.folder / "results.parquet").to_pandas()
    assert len(table) == 20
    assert set(table["status"]) == {"done"}
    assert (table["params_kept"] <= (1 - table["sparsity"]) * table["params_total"] + 1).all()


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own query of its database
def test_mlflow_has_a_parent_and_a_child_for_each_trial_and_dense_network(small_run: Run) -> None:
    client = MlflowClient(small_run.summary["tracking"])
    experiment = client.get_experiment_by_name("howcompact")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    networks = [run for run in children if "howcompact.kind" in run.data.tags]
    assert {run.info.run_name for run in networks} == {f"dense network: small_cnn, seed {seed}" for seed in (0, 1)}
    for run in networks:
        assert sorted(m.step for m in client.get_metric_history(run.info.run_id, "val_accuracy")) == [0, 1, 2, 3]
    children = [run for run in children if run not in networks]
    assert len(children) == 20
    names = {run.info.run_name for run in children}
    assert names >= {
        f"{policy} at {s}, seed {n}" for policy in ("uniform", "searched") for s in (0.5, 0.9) for n in (0, 1)
    }
    assert {(run.data.tags["howcompact.model"], run.data.tags["howcompact.dataset"]) for run in children} == {
        ("small_cnn", "digits")
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"comparison.json", "accuracy.png"}
    child = children[0]
    assert sorted(m.step for m in client.get_metric_history(child.info.run_id, "val_accuracy")) == [0, 1, 2]
    assert "one_shot_accuracy" in child.data.metrics
    named = {name for name in child.data.params if not name.startswith("densities")}
    assert named <= parent.data.params.keys()
    assert parent.data.params["policy"] == "uniform, erk, capacity, searched"
    assert {run.data.params["dense.epochs"] for run in runs} == {"3"}
    assert all([each.dataset.digest for each in data_sets_of(run)] == ["digits"] for run in runs)


def test_a_moved_study_is_read_where_it_is(small_run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(small_run.folder, moved)
    told = small_run.json_of("compare", str(moved))
    assert told["rows"] == small_run.json_of("compare", str(small_run.folder))["rows"]


def test_the_test_split_is_read_once_and_remembered(small_run: Run) -> None:
    first = howcompact("compare", str(small_run.folder), "--test", "--json", cwd=small_run.home)
    assert "read before" not in first.stderr
    again = howcompact("compare", str(small_run.folder), "--test", "--json", cwd=small_run.home)
    assert "the test split was read before for" in again.stderr
    told, later = json.loads(first.stdout), json.loads(again.stdout)
    assert told["rows"] == later["rows"]
    assert all(0 < row["test_accuracy"]["mean"] <= 1 for row in told["rows"])
    trials = len({key for row in told["rows"] for key in row["trial_keys"]})
    assert told["held_out"] == {**later["held_out"], "read_now": trials, "trials": trials}
    assert (later["held_out"]["read_now"], later["held_out"]["by"]) == (0, ["digits"])
    remembered = json.loads(unsealed((small_run.folder / "test.json").read_bytes()))
    assert len(remembered) == trials
    assert all(set(reading) == {"accuracy", "other_metrics", "read", "by"} for reading in remembered.values())


@pytest.fixture(scope="module")
def grown(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the first command of the README's tour with one more policy on a copy of the study: its home, its output."""
    home = tmp_path_factory.mktemp("grown")
    storage = small_run.home / "howcompact-runs"
    shutil.copytree(storage, home / storage.name, ignore=shutil.ignore_patterns("mlflow*"))  # MLflow stores whole paths
    more = "policies=[uniform,erk,random,capacity,searched]"
    return home, output_of(f"{BLOCKS[2].strip()} --set {shlex.join([*SMALL, more])}", home)


def test_a_study_grows_by_what_it_lacks_and_runs_nothing_again(small_run: Run, grown: tuple[Path, str]) -> None:
    home, printed = grown
    assert "trials: 24 total, 4 new, 24 done, 0 failed, 0 stopped\n" in printed
    for trials in small_run.folder.glob("trials/*/outcome.json"):
        same = home / trials.relative_to(small_run.home)
        assert same.stat().st_mtime_ns == trials.stat().st_mtime_ns


def test_the_commands_of_the_tour_run(grown: tuple[Path, str]) -> None:
    home, printed = grown
    for policy in ("uniform", "capacity", "searched"):
        assert policy in printed
    assert "MLflow: " in printed
    (retrieve,) = re.findall(r"best checkpoint: (.*)", printed)
    assert "verified" in output_of(retrieve, home)
    for command in BLOCKS[3].splitlines():
        assert output_of(command, home)
    assert (home / "page" / "index.html").exists()
