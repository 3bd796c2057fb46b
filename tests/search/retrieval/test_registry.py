"""Networks in the model registry of a real MLflow server can be found and loaded again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

import search
from search.results.folder import StudyFolder
from search.retrieval.registered_code import CODE
from search.retrieval.registry import Registry
from search.tracking.tracker import Finished, Tracker
from tests.search.mlflow_server import Seen, Server
from tests.search.ports import free_port
from tests.test_imports import GRAPH, MODULES, ROOT, imports_of
from trainables import load_pruned
from trainables.exports.served import requirements

LOAD = """
import sys
import mlflow
import numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/pruned@best")
import trainables
assert "/code/" in trainables.__file__, "the model brings its own code"
assert not any(name.partition(".")[0] in ("search", "ray", "optuna") for name in sys.modules)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2])))
print(model.metadata.metadata["classes"], model.input_example.shape)
"""


def test_a_registered_network_is_found_and_loads_to_the_same_outputs(
    trained: StudyFolder, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    (row,) = [row for row in trained.rows() if row.granularity == "channel" and row.sparsity == 0.8]
    tracker = Tracker(server.uri, "small", {}, warn=pytest.fail)
    tracker.backfill([Finished(row.trial, {}, {}, {"best": 1.0})])
    tracker.close()
    taken = search.best(
        trained.folder.uri, where=[f"trial=={row.trial}"], out=str(tmp_path / "best"), register="pruned"
    )
    assert taken.registered is not None
    assert (taken.registered.uri, taken.registered.version) == ("models:/pruned@best", 1)

    client = MlflowClient(server.uri)
    version = client.get_model_version_by_alias("pruned", "best")
    assert version.run_id == Seen(server.uri, "small").trials[row.trial].info.run_id
    assert version.tags["policy"] == "erk"
    assert version.tags["params_kept"] == str(row.params_kept)
    assert float(version.tags["accuracy"]) == pytest.approx(taken.verified_accuracy, abs=1e-4)
    assert version.description is not None
    assert row.trial in version.description
    assert client.get_registered_model("pruned").description
    stored = [path for path in server.folder.glob("files/**/*") if path.is_file()]
    assert {path.suffix for path in stored} <= {".py", ".typed", ".json", ".yaml", ".txt", ".safetensors", ""}

    images = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    command = [sys.executable, "-c", LOAD, server.uri, "images.npy", "logits.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(1, 1, 8, 8)" in done.stdout
    with torch.no_grad():
        expected = load_pruned(taken.checkpoint)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-6)

    untracked = taken.model_copy(update={"trial": "f" * 16})
    again = Registry(trained, "pruned").add(tmp_path / "best", untracked)
    assert again.version == 2
    newest = client.get_model_version_by_alias("pruned", "best")
    assert (newest.version, newest.tags["trial"]) in (("2", "f" * 16), (2, "f" * 16))
    assert newest.run_id is not None
    assert client.get_run(newest.run_id).info.status == "FINISHED"
    assert [str(v.version) for v in client.search_model_versions("name = 'pruned'")] == ["2", "1"]


def test_a_model_brings_the_code_and_names_the_libraries_that_loading_imports() -> None:
    needed, waiting = set[str](), ["trainables.exports.served"]
    while waiting:
        module = waiting.pop()
        needed.add(module)
        waiting += GRAPH[module] - needed
    parts = {MODULES[module].relative_to(ROOT / "trainables").parts[0] for module in needed}
    assert parts | {"__init__.py", "py.typed"} == {*CODE}
    libraries = {name.partition(".")[0] for module in needed for name in imports_of(MODULES[module])}
    named = {
        name for model in ("resnet20", "timm:resnet18", "hf:ViTForImageClassification") for name in requirements(model)
    }
    assert libraries - sys.stdlib_module_names - {"trainables"} == named
    assert {*requirements("timm:resnet18")} - {*requirements("resnet20")} == {"timm"}


def test_a_network_is_registered_where_it_is_tracked_by_default(
    trained: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    storage = shutil.copytree(trained.folder.parent.uri, tmp_path / "runs")
    taken = search.best(str(storage / "small"), register="pruned")
    assert taken.registered is not None
    assert taken.registered.tracking == f"sqlite:///{storage}/mlflow.db"
    version = MlflowClient(taken.registered.tracking).get_model_version_by_alias("pruned", "best")
    assert version.tags["trial"] == taken.trial
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "runs"]


def test_a_network_that_mlflow_refuses_leaves_no_folder(
    trained: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    with pytest.raises(ValueError, match=r"MLflow at http://\*\*\*@127.0.0.1:\d+ must take the network, but .*refused"):
        search.best(trained.folder.uri, out=str(tmp_path / "best"), register="pruned")
    with pytest.raises(ValueError, match="--register must be a name without"):
        search.best(trained.folder.uri, out=str(tmp_path / "best"), register="a/b")
    assert list(tmp_path.iterdir()) == []
