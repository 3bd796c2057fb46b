"""What the commands for one network do with a network that a task has trained."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from search.retrieval.registered_code import packages
from tests.search.conftest import EXAMPLES, howcompact, installed
from trainables import load_pruned
from trainables.allocation.profiles import tolerated
from trainables.task.loading import load_task

TRUSTED = ("--trust", "text:gpt", "--trust", "text:docstrings")
TINY = (
    *("dense.epochs=1", "finetune.epochs=1", "sparsities=[0.5]", "seeds=[0]", "data.max_train=64", "data.max_val=20"),
    *("policies=[uniform,rdp]", "calibration=2", "search={}"),
)
LOAD = """
import sys
import mlflow
import numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/characters@best")
import trainables
import text
assert all("/code/" in module.__file__ for module in (trainables, text)), "the model brings its own code"
assert not any(name.partition(".")[0] in ("search", "ray", "optuna") for name in sys.modules)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2])))
print(model.metadata.signature)
"""

DIGITS = """
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import TensorDataset, random_split
from trainables.task.metrics import accuracy, second
from trainables.task.task import Task

def digits():
    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
    parts = random_split(TensorDataset(images, torch.tensor(found.target)), [0.8, 0.2], torch.manual_seed(0))
    return Task(
        splits=dict(zip(("train", "validation"), parts)),
        example=images[:1],
        loss=lambda outputs, batch: F.cross_entropy(outputs, batch[1], reduction="none"),
        metric=accuracy(),
        outputs=10,
        logits=1,
        labels=second,
    )
"""
BLOCKS = {
    "name": "blocks",
    "task": "hc_labelled:digits",
    "models": ["resnet20"],
    "width": 0.25,
    "seeds": [0],
    "granularity": "block",
    "criteria": ["probe"],
    "policies": ["by-score"],
    "sparsities": [0.2],
    "probe": 100,
    "dense": {"epochs": 1},
    "finetune": {"epochs": 1},
    "tracking": "off",
    "data": {"max_train": 200},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a study of the text task and the checkpoint of its best network, registered."""
    home = tmp_path_factory.mktemp("home")
    load_task.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = installed("run", str(EXAMPLES / "text.yaml"), "--set", *TINY, cwd=home)
        assert done.returncode == 0, done.stderr
        found = howcompact(
            *("best", "howcompact-runs/text", "--out", "best", "--register", "characters", *TRUSTED), cwd=home
        )
        assert found.returncode == 0, found.stderr
        yield home
    sys.modules.pop("text", None)


def test_a_registered_network_of_a_task_loads_in_a_clean_process(home: Path, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 96, (3, 64))
    np.save(tmp_path / "ids.npy", ids)
    store = f"sqlite:///{home / 'howcompact-runs' / 'mlflow.db'}"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, store, "ids.npy", "logits.npy"],
        cwd=tmp_path,
        env=clean | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Tensor('int64', (-1, 64))" in done.stdout
    assert "Tensor('float32', (-1, 64, 96))" in done.stdout
    with torch.no_grad():
        expected = load_pruned(str(home / "best"), trust=["text:gpt"])(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5)
    version = MlflowClient(store).get_model_version_by_alias("characters", "best")
    assert float(version.tags["perplexity"]) > 1.0
    assert version.description is not None
    assert "inputs (N, 64) of int64, as the Task `text:docstrings` gives them" in version.description


def test_a_registered_model_names_the_packages_that_its_own_code_imports(home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        named = {line.partition("==")[0] for line in packages("table:mlp")}
    assert named - {line.partition("==")[0] for line in packages("small_cnn")} == {"scikit-learn"}


def test_a_profile_of_a_task_measures_its_metric(home: Path) -> None:
    seen = howcompact("profile", "best", "--calibration", "16", *TRUSTED, "--out", "profile", cwd=home)
    assert seen.returncode == 0, seen.stderr
    assert "before perplexity is worse by 1, 2 or 5 %;" in seen.stdout
    found = json.loads((home / "profile" / "profile.json").read_text())
    assert (found["metric"], found["higher_is_better"]) == ("perplexity", False)
    profile, dense = found["profile"], found["profile"]["dense_accuracy"]
    assert dense < -1.0  # turned, so that higher is better
    assert f"dense perplexity {-dense:.3f} on 16 training samples" in seen.stdout
    assert 0.0 < profile["right"]["head"][0] < 1.0
    for part in found["parts"]:
        curve = profile["accuracy"][part["name"]]
        for points in (1, 2, 5):
            expected = tolerated(part["sparsities"], curve, -dense * points / 100)
            assert part["tolerated"][str(points)] == pytest.approx(expected)


def test_what_a_network_of_a_task_does_not_say_is_refused(home: Path) -> None:
    untrusted = howcompact("profile", "best", "--trust", "text:gpt", cwd=home)
    assert "a checkpoint's task must be trusted" in untrusted.stderr
    probed = howcompact("probe", "best", *TRUSTED, cwd=home)
    assert "linear probes must read the label of each sample, but the Task gives none" in probed.stderr
    assert {untrusted.returncode, probed.returncode} == {2}


def test_policies_share_a_budget_by_the_samples_of_the_task(home: Path) -> None:
    seen = howcompact("allocate", "best", "--policy", "snip", "--sparsity", "0.6", *TRUSTED, "--json", cwd=home)
    assert seen.returncode == 0, seen.stderr
    found = json.loads(seen.stdout)
    assert found["params_kept"] == round(0.4 * sum(layer["size"] for layer in found["layers"]))
    page = howcompact("compare", "howcompact-runs/text", "--out", "page", *TRUSTED, cwd=home)
    assert page.returncode == 0, page.stderr
    text = (home / "page" / "index.html").read_text().replace("\xa0", " ")
    assert "can be removed before perplexity is worse by 1, 2 and 5 %, on calibration samples" in text


def test_probes_read_the_labels_of_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hc_labelled.py").write_text(DIGITS)
    (tmp_path / "blocks.yaml").write_text(json.dumps(BLOCKS))
    done = installed("run", "./blocks.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["done"] == 1
    assert "networks probed: 1 of 1" in done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    trusted = ("--trust", "hc_labelled:digits")
    assert howcompact("best", "howcompact-runs/blocks", "--out", "best", *trusted, cwd=tmp_path).returncode == 0
    seen = howcompact("probe", "best", "--samples", "100", *trusted, "--json", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    found = json.loads(seen.stdout)
    assert found["samples"] == 100
    assert found["blocks"][0]["name"] == "stem"
    assert all(0.0 <= block["val_accuracy"] <= 1.0 for block in found["blocks"])
