"""Studies whose budget is time: measured by the study, taken from a table, and refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import search
from search.comparison.compare import compare
from search.results.folder import StudyFolder
from search.running.identity import identified
from search.study.checks import complaints
from search.study.reading import read_study
from search.study.spec import StudySpec
from search.verification.latency import beyond_time
from tests.search.conftest import howcompact, installed
from tests.search.in_process import run_in_process
from tests.trainables.trials import DATA
from trainables.checkpoints import checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.latency.table import LatencyTable
from trainables.models.cifar import small_cnn
from trainables.pruning.channels import Channels
from trainables.storage.folder import Folder

SETTINGS = (
    *("granularity=channel", "criteria=[l1]", "budget=latency", "device={name: torch-cpu, batch: 64}", "round_to=4"),
    *("sparsities=[0.3]", "seeds=[0]", "dense.epochs=2", "finetune.epochs=1", "calibration=64", "tracking=off"),
    *("policies=[uniform,rdp,gates]", "gates.epochs=1", "data.max_train=300", "search={}"),
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
    rows = {row.policy: row for row in folder.rows()}
    assert {*rows} == {"uniform", "rdp", "gates"}
    for row in rows.values():
        assert row.device == "torch-cpu"
        assert row.predicted_latency_ms is not None
        assert row.predicted_latency_ms <= 0.7 * measured.dense_ms * 1.2  # the dense network's time as it is predicted
        assert row.latency_ms is not None
        assert row.dense_latency_ms is not None
    predicted = [row.predicted_latency_ms or 0.0 for row in rows.values()]
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


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "board.parquet"
    device = ("--device", "torch-cpu", "--batch", "64", "--round-to", "4", "--image", "1x8x8", "--quiet")
    made = howcompact("latency-table", "small_cnn", *device, "--out", str(file), cwd=file.parent)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("latency of small_cnn on torch-cpu (")
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet20", "--granularity", "weight"], "--granularity must be of units that are removed, as masked weights"),
        (["resnet18", "--width", "0.5"], "width must be 1.0 for resnet18, but got 0.5; only these have a width"),
        (["resnet20", "--image", "3x8x8", "--input", "9"], "--input must go with a model's name alone, but got also"),
        (["resnet20", "--out", "table.csv"], "--out must end with .parquet, but got 'table.csv'; rename it"),
        (
            ["resnet20", "--device", "onnx"],
            "device.name must be 'auto', 'torch-cpu', 'torch-cuda' or 'onnxruntime-cpu'",
        ),
        (["resnet20", "--batch", "0"], "device.batch must be greater than or equal to 1, but got 0"),
        (["resnet2"], "model must be a known name, but got 'resnet2'; did you mean"),
    ],
)
def test_a_table_that_cannot_be_measured_is_refused_at_once(arguments: list[str], message: str, tmp_path: Path) -> None:
    given = [*(["--device", "torch-cpu"] if "--device" not in arguments else [])]
    given += [] if "--out" in arguments else ["--out", "table.parquet"]
    ended = howcompact("latency-table", *arguments, *given, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert not [*tmp_path.iterdir()]


def test_an_allocation_without_a_trial_spends_the_time_of_a_table(table: Path, tmp_path: Path) -> None:
    network = ("small_cnn", "--image", "1x8x8", "--granularity", "channel")
    asked = ("allocate", *network, "--policy", "erk", "--budget", "latency", "--sparsity", "0.3")
    shared = howcompact(*asked, "--table", str(table), "--json", cwd=tmp_path)
    assert shared.returncode == 0, shared.stderr
    found, measured = json.loads(shared.stdout), LatencyTable.at(str(table))
    channels = measured.priced(Channels(small_cnn(10, 1), torch.zeros(1, 1, 8, 8)))
    kept = np.array([round(found["parts"][part.name] * part.units) for part in channels.parts])
    dense = channels.cost(np.array([part.units for part in channels.parts]), "latency")
    assert 0.6 * dense < channels.cost(kept, "latency") <= 0.7 * dense
    refused = howcompact(*asked, cwd=tmp_path)
    assert refused.returncode == 2
    assert "budget 'latency' must come with a table" in refused.stderr


def of_table(table: Path, **changes: object) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "board",
            "data": DATA,
            "granularity": "channel",
            "criteria": ["l1"],
            "budget": "latency",
            "device": str(table),
            "round_to": 4,
            "policies": ["uniform", "erk"],
            "sparsities": [0.3],
            "seeds": [1],
            "dense": {"epochs": 1},
            "finetune": {"epochs": 1},
            "recalibrate": 3,
            "search": {},
            **changes,
        }
    )


def test_a_table_of_another_machine_prices_trials_that_are_not_timed_here(table: Path, tmp_path: Path) -> None:
    folder = run_in_process(tmp_path, of_table(table))
    folder.write_table()
    rows = folder.rows()
    assert [(row.latency_ms, row.device) for row in rows] == [(None, "")] * 2
    assert all(row.predicted_latency_ms for row in rows)
    (cells,) = [compare([folder]).rows]
    assert [row.warnings for row in cells] == [[], []]  # budgets match by the table
    assert {row.latency_ms for row in cells} == {None}
    assert search.verify(folder.folder.uri, sample=0).problems == []


def test_a_table_that_moved_is_the_same_table_and_a_changed_one_is_another(table: Path, tmp_path: Path) -> None:
    storage = Folder.at(str(tmp_path))
    copied, other = tmp_path / "copied.parquet", tmp_path / "other.parquet"
    copied.write_bytes(table.read_bytes())
    measured = LatencyTable.at(str(table))
    other.write_bytes(replace(measured, ms=2 * measured.ms).to_parquet())
    studies = [identified(of_table(file), storage, lambda _: None) for file in (table, copied, other)]
    keys = [[trial.key() for trial in study.trials()] for study in studies]
    assert keys[0] == keys[1] != keys[2]
    (earlier, *_), moved = studies[0].trials(), studies[1]
    assert moved.found_now(earlier).device.table == str(copied)
    assert studies[2].found_now(earlier).device.table == str(table)


def test_verify_names_a_time_that_the_table_does_not_give(table: Path, tmp_path: Path) -> None:
    study = of_table(table, policies=["uniform"])
    folder, (spec,) = run_in_process(tmp_path, study), study.trials()
    (outcome,) = folder.read_outcomes([spec.key()])
    assert outcome.facts is not None
    assert outcome.best is not None
    saved = checkpoint.load(folder.trial(spec.key()) / epoch_name(outcome.best.epoch))

    def problems(**changes: object) -> list[str]:
        assert outcome.facts is not None
        return beyond_time(saved, spec, outcome.facts.model_copy(update=changes), folder.folder.parent)

    assert problems() == []
    assert re.search(r"take 0\.\d+ ms by its table, but it reports 0\.001", problems(predicted_latency_ms=1e-3)[0])
    greedy = problems(parts=dict.fromkeys(outcome.facts.parts, 1.0))
    assert re.search(r"its parts take [\d.]+ ms, more than its budget of 0\.\d+ ms", greedy[1])
    assert problems(parts={}) == ["it does not say what each part keeps, which its budget of latency needs"]


def test_blocks_spend_time_too(tmp_path: Path) -> None:
    data = DATA.model_copy(update={"size": 16})
    settings = {"models": ["resnet20"], "width": 0.25, "granularity": "block", "round_to": 1, "data": data}
    study = of_table(Path(), device="torch-cpu", **settings, criteria=["l1"], policies=["uniform"])
    (row,) = run_in_process(tmp_path, study).rows()
    assert row.predicted_latency_ms is not None
    assert row.latency_ms is not None
    assert min(row.parts.values()) < 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["granularity=weight"],
            "budget 'latency' must go with units that are removed, as masked weights save no time",
        ),
        (["device=torch-cp"], "device.name must be 'auto', 'torch-cpu', 'torch-cuda' or 'onnxruntime-cpu', but got"),
        (["device={threads: 0}"], "device.threads must be greater than or equal to 1, but got 0"),
        (["device=none.parquet"], r"device.table must be a file, but .*none.parquet is not there; correct it"),
        (["device={table: a.parquet, batch: 2}"], "device.table must come without name, threads and batch"),
        (["device={content: abc}"], "device.content must be left out, as each run finds it; drop it"),
        (
            ["budget=macs"],
            "device must come with budget=latency, with latency=true, or with latency_ms in search",
        ),
        (["budget=macs", "latency=true", "device=a.parquet"], "device.table must come with budget 'latency', as the"),
        (
            ["before=[{granularity: block, criterion: l1, policy: uniform, sparsity: 0.1}]"],
            "budget 'latency' must be that of one pruning, as its table starts from the dense network",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_runs(settings: list[str], message: str) -> None:
    given = ["granularity=channel", "criteria=[l1]", "budget=latency", "device=torch-cpu", "policies=[uniform]"]
    if settings == ["granularity=weight"]:
        settings = [*settings, "criteria=[magnitude]"]
    with pytest.raises(ValueError, match=message):
        read_study("digits", [*given, "search={}", *settings])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"models": ["vit"], "data": DATA.model_copy(update={"size": 32})},
            "must be of the network that is pruned, but it is of small_cnn",
        ),
        (
            {"data": DATA.model_copy(update={"size": 16})},
            "must be of the inputs that the network takes, float32 1x16x16",
        ),
        (
            {"sparsities": [0.99]},
            r"budget must leave at least .* ms, but sparsity 0.99 leaves .*; use a sparsity of at",
        ),
    ],
)
def test_a_table_that_does_not_fit_and_a_budget_out_of_reach_are_refused_before_anything_runs(
    settings: dict[str, object], message: str, table: Path
) -> None:
    assert re.search(message, complaints(of_table(table, **settings))[0])
