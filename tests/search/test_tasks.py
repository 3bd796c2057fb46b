"""Tasks of the user's own: the examples run as studies, and what a study says of a task."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from search.results.folder import StudyFolder
from search.results.rows import TABLE
from search.running.identity import identified
from search.samples.runs import networks
from search.study.reading import read_study
from tests.search.conftest import EXAMPLES, howcompact, installed
from tests.search.drivers import finish, kill_when, start
from trainables import load_pruned
from trainables.checkpoints import artifact_store
from trainables.learnability.records import read_records
from trainables.outcome import Outcome
from trainables.storage.folder import Folder
from trainables.task.loading import load_task
from trainables.training.recorder import SAMPLES

TINY = (
    *("dense.epochs=1", "finetune.epochs=1", "sparsities=[0.5]", "seeds=[0]", "calibration=16", "tracking=off"),
    *("data.max_train=64", "data.max_val=20", "policies=[uniform,capacity]", "search={}"),
)
ERROR = "mean_squared_error"
METRICS = {"table": "r2", "text": "perplexity", "scenes": "mean_iou", "series": "accuracy", "pair": "accuracy"}
ADAPTED = {"sentences": "bert", "lit": "network"}  # example -> its model
SERVED = """
import sys
import mlflow
import numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/net@best")
inputs = model.metadata.signature.inputs
ones = {each.name: np.ones((3, *each.shape[1:]), each.type) for each in inputs.inputs}
np.save("outputs.npy", model.predict(ones if inputs.has_input_names() else ones[None]))
"""
TRUSTED = ("--trust", "table:mlp", "--trust", "table:diabetes")


def example(name: str, settings: Sequence[str]) -> tuple[str, ...]:
    """Give the source and the settings of the study of an example."""
    return (str(EXAMPLES / f"{name}.yaml"), "--set", *settings)


def calm_and_killed(home: Path, name: str, settings: Sequence[str], file: str) -> tuple[Path, Path]:
    """Run the study of an example undisturbed, and killed once its folder has such a file. Return where each ended."""
    calm, killed = home / "calm", home / "killed"
    calm.mkdir()
    killed.mkdir()
    finish(start(calm, *example(name, settings)))
    folder = killed / "howcompact-runs" / name
    kill_when(lambda: any(folder.glob(file)), start(killed, *example(name, settings)))
    finish(start(killed, *example(name, settings)))
    return calm, killed


@pytest.mark.parametrize("name", [name for name in METRICS if name != "table"])  # the next test runs that one
def test_an_example_runs_as_a_study(name: str, tasks: Path, tmp_path: Path) -> None:
    summary = finish(start(tmp_path, *example(name, TINY)))
    assert (summary["trials"]["done"], summary["trials"]["failed"]) == (2, 0)
    table = pq.read_table(Path(summary["folder"]) / TABLE)
    assert table["metric"].to_pylist() == [METRICS[name]] * 2
    values = table[f"best_val_{METRICS[name]}"].to_pylist()
    wanted = (min if METRICS[name] == "perplexity" else max)(values)
    assert summary["best"][f"best_val_{METRICS[name]}"] == wanted
    assert ("accuracy" in json.dumps(summary)) is (METRICS[name] == "accuracy")


@pytest.mark.parametrize("name", ADAPTED)
def test_a_study_of_an_adapter_is_run_compared_taken_and_verified(name: str, tasks: Path, tmp_path: Path) -> None:
    summary = finish(start(tmp_path, *example(name, TINY)))
    assert (summary["trials"]["done"], summary["trials"]["failed"]) == (2, 0)
    task = {"sentences": "lines", "lit": "task"}[name]
    trusted = ("--trust", f"{name}:{ADAPTED[name]}", "--trust", f"{name}:{task}")
    seen = howcompact("compare", summary["folder"], "--json", *trusted, cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    wanted = ("--export", "onnx", "--register", "net", "--json")
    seen = howcompact("best", summary["folder"], "--out", "b", *wanted, *trusted, cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    network = json.loads(seen.stdout)
    assert network["verified_accuracy"] == pytest.approx(network["reported_accuracy"], abs=1e-3)
    assert [each["name"] for each in network["tensors"]] == (
        ["input_ids", "attention_mask"] if name == "sentences" else []
    )
    store = f"sqlite:///{Path(summary['folder']).parent / 'mlflow.db'}"
    served = subprocess.run([sys.executable, "-c", SERVED, store], cwd=tmp_path, capture_output=True, text=True)
    assert served.returncode == 0, served.stderr
    model = load_pruned(str(tmp_path / "b"), trust=[f"{name}:{ADAPTED[name]}"])
    with torch.no_grad():
        ones = {each["name"]: torch.ones(3, *each["shape"], dtype=torch.int64) for each in network["tensors"]}
        expected = model(**ones).logits if ones else model(torch.ones(3, *network["image"]))
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected.numpy(), atol=1e-5)
    seen = howcompact("verify", summary["folder"], *trusted, cwd=tmp_path)
    assert seen.returncode == 0, seen.stdout


def test_a_killed_study_of_a_table_ends_as_an_undisturbed_one(tasks: Path, tmp_path: Path) -> None:
    settings = (
        *("tracking=off", "seeds=[0,1]", "dense.epochs=4", "finetune.epochs=4", "sparsities=[0.8]"),
        *("policies=[uniform,capacity,searched]", "search.warm_start=[uniform,capacity]", "search.trials=4"),
        "search.scheduler=asha",
    )
    homes = calm_and_killed(tmp_path, "table", settings, "trials/*/epoch-*/manifest.json")
    named = ["uniform", "capacity"]
    one, other = (
        {
            row.trial: (row.dense_accuracy, row.best_val_accuracy, row.best_epoch, row.parts)
            for row in StudyFolder.open(str(home / "howcompact-runs" / "table")).rows()
            if row.policy in named
        }
        for home in homes
    )
    assert one == other
    assert len(one) == 2 * len(named)
    folder = str(homes[1] / "howcompact-runs" / "table")
    for words, code in (
        (("best", folder, "--out", "c"), 2),
        (("compare", folder, "--test"), 2),
        (("verify", folder), 1),
    ):
        refused = howcompact(*words, "--trust", "table:mlp", cwd=homes[1])
        assert refused.returncode == code, words
        assert "a checkpoint's task must be trusted" in refused.stdout + refused.stderr
    seen = howcompact("best", folder, "--out", "b", *TRUSTED, "--json", cwd=homes[1])
    assert seen.returncode == 0, seen.stderr
    network = json.loads(seen.stdout)
    assert network["verified_r2"] == pytest.approx(network["reported_r2"], abs=1e-3)
    targets = torch.stack([y for _, y in load_task("table:diabetes").splits["validation"]])
    variance = targets.var(unbiased=False).item()
    assert network["other_metrics"] == {ERROR: pytest.approx((1 - network["verified_r2"]) * variance, rel=1e-4)}
    rows = StudyFolder.open(folder).rows()
    for row in rows:
        assert row.best_val_accuracy is not None
        assert row.other_metrics == {ERROR: pytest.approx((1 - row.best_val_accuracy) * variance, rel=1e-4)}
    seen = howcompact("best", folder, "--out", "d", "--where", f"best_val_{ERROR}<0", *TRUSTED, cwd=homes[1])
    assert f"does (each alone, best_val_{ERROR}<0.0: 0)" in seen.stderr
    where = ("--where", "best_val_r2>=-9", "--where", f"best_val_{ERROR}<={network['other_metrics'][ERROR] + 1e-3}")
    assert howcompact("best", folder, "--out", "d", *where, *TRUSTED, cwd=homes[1]).returncode == 0
    assert (network["image"], network["dtype"], network["task"]) == ([10], "float32", "table:diabetes")
    seen = howcompact("compare", folder, "--test", "--out", "page", *TRUSTED, cwd=homes[1])
    assert seen.returncode == 0, seen.stderr
    assert "validation r2, mean" in seen.stdout
    assert "other metrics of the epoch with the best r2" in seen.stdout
    table = pq.read_table(homes[1] / "page" / "comparison.parquet").to_pylist()
    for compared in table:
        own = [row.other_metrics[ERROR] for row in rows if row.trial in compared["trial_keys"]]
        assert compared[f"best_val_{ERROR}"] == pytest.approx(fmean(own))
        assert compared[f"test_{ERROR}"] > 0
    page = (homes[1] / "page" / "index.html").read_text()
    assert "R2 against sparsity" in page
    assert "accuracy" not in page.lower().replace("best_val_accuracy", "")  # a setting: the goal of searches
    assert howcompact("verify", folder, *TRUSTED, cwd=homes[1]).returncode == 0


def test_a_killed_study_of_curricula_ends_as_an_undisturbed_one(tasks: Path, tmp_path: Path) -> None:
    settings = (
        *("tracking=off", "seeds=[0]", "dense.epochs=3", "finetune.epochs=6", "sparsities=[0.8]", "calibration=32"),
        *("data.max_train=200", "policies=[uniform,capacity-functional]", "records.finetune=during"),
        "curricula=[{name: easy-first, measure: aum}]",
    )
    homes = calm_and_killed(tmp_path, "series", settings, "trials/*/epoch-00003/manifest.json")
    results = [
        {
            row.trial: (row.dense_accuracy, row.best_val_accuracy, row.best_epoch, row.curriculum, row.parts)
            for row in StudyFolder.open(str(home / "howcompact-runs" / "series")).rows()
        }
        for home in homes
    ]
    assert results[0] == results[1]
    assert len(results[0]) == 2 * 3  # policies x (no curriculum, one, its control)
    for trial in results[0]:
        records = [home / "howcompact-runs" / "series" / "trials" / trial / SAMPLES for home in homes]
        assert records[0].read_bytes() == records[1].read_bytes()


def test_two_workers_train_a_task_and_a_killed_study_of_theirs_ends_as_an_undisturbed_one(
    tasks: Path, tmp_path: Path
) -> None:
    settings = (
        *("tracking=off", "seeds=[0]", "dense.epochs=2", "finetune.epochs=8", "sparsities=[0.8]", "policies=[uniform]"),
        *("data.max_train=201", "resources.workers=2", "records.finetune=during", "calibration=32"),
    )
    homes = calm_and_killed(tmp_path, "series", settings, "trials/*/epoch-00002/manifest.json")
    (one,), (other,) = (list((home / "howcompact-runs/series/trials").iterdir()) for home in homes)
    assert one.name == other.name
    histories = [Outcome.from_file((trial / "outcome.json").read_bytes()).history for trial in (one, other)]
    told = [[report.model_copy(update={"seconds": 0.0}) for report in history] for history in histories]
    assert told[0] == told[1]
    assert len(told[0]) == 9
    assert (one / SAMPLES).read_bytes() == (other / SAMPLES).read_bytes()


def test_the_command_tells_which_samples_of_a_task_are_easy(tasks: Path, tmp_path: Path) -> None:
    few = ("dense.epochs=2", "seeds=[0,1]", "data.max_train=64", "data.max_val=20", "tracking=off")
    command = ("learnability", str(EXAMPLES / "text.yaml"), "--set", *few)
    seen = installed(*command, "--out", "page", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    assert "text:gpt (2 seeds): 64 training samples of text:docstrings, 2 epochs" in seen.stdout
    left_out = (
        "left out: pictures and flipped labels (of images alone); aum, el2n, confidence, variability (need labels)"
    )
    assert left_out in seen.stdout
    assert left_out in (tmp_path / "page" / "index.html").read_text()
    found = json.loads(howcompact(*command, "--json", cwd=tmp_path).stdout)
    assert {*found["agreement"]} == {"learnability", "forgetting", "first-learned", "correctness"}
    table = pq.read_table(tmp_path / "page" / "samples.parquet").to_pandas()
    assert len(table) == 2 * 64
    assert {*table.columns} == {"id", "model", "seed", *found["agreement"]}
    assert table.learnability.mean() == pytest.approx(found["learnability"]["text:gpt"])
    storage = Folder.at(str(tmp_path / "howcompact-runs"))
    (network,) = [
        spec for spec in networks(identified(read_study(command[1], few), storage, lambda _: None)) if spec.seed == 0
    ]
    folder = artifact_store.find(storage, "dense", network.key())
    assert folder is not None
    shares = read_records(folder).hits.mean(axis=0)
    assert table[table.seed == 0].learnability.to_numpy() == pytest.approx(shares)
    assert 0.0 < shares.mean() < 1.0
    refused = howcompact("learnability", str(EXAMPLES / "table.yaml"), cwd=tmp_path)
    assert refused.returncode == 2
    assert "learnability must know which outputs are right, but task 'table:diabetes' does not" in refused.stderr
    by_table = ("curricula=[{name: easy-first, table: page/samples.parquet, measure: correctness}]", "search={}")
    checked = howcompact("run", command[1], "--dry-run", "--set", *few, *by_table, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
