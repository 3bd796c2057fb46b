"""Weights from elsewhere: taken as they are, or refused with what is wrong."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.trainables.trials import CPU
from trainables.artifacts.dense import load_dense, make_dense
from trainables.artifacts.record import DenseRecord
from trainables.catalog.availability import missing
from trainables.catalog.feasibility import unreachable
from trainables.checkpoints import artifact_store, checkpoint, pretrained
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data.batches import Resident
from trainables.data_spec import DataSpec
from trainables.device_spec import DeviceSpec
from trainables.models import hub
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.train import evaluate

DATA = DataSpec(max_train=100, max_val=50)
WRITERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "net.safetensors": save_file,
    "net.pth": torch.save,
    "checkpoint.pth": lambda state, path: torch.save({"epoch": 3, "state_dict": state}, path),
    "compiled.pth": lambda state, path: torch.save(
        {"model_state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}}, path
    ),
    "parallel.pth": lambda state, path: torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path),
}


def network(seed: int, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    return hub.build("small_cnn", classes, 1, 0.5)


def spec(weights: Path | str, epochs: int = 0) -> DenseSpec:
    return DenseSpec(width=0.5, data=DATA, recipe=Recipe(epochs=epochs), weights=str(weights))


@pytest.mark.parametrize("name", WRITERS)
def test_a_dense_network_is_what_the_file_holds_where_nothing_is_trained(name: str, tmp_path: Path) -> None:
    given, splits, storage = network(7), sources.load(DATA), Folder.at(str(tmp_path / "storage"))
    WRITERS[name](given.state_dict(), tmp_path / name)
    asked = spec(tmp_path / name)
    pretrained.check(asked)
    folder = artifact_store.find_or_make(
        storage, "dense", "x", lambda made: make_dense(asked, splits, storage, made, CPU)
    )
    saved = checkpoint.load(folder)
    state = given.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in load_dense(saved, CPU).state_dict().items())
    assert saved.read(DenseRecord).val_accuracy == evaluate(given, Resident(splits.val, splits, CPU)).metric


def test_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    torch.save(network(7).state_dict(), tmp_path / "net.pth")
    splits, storage = sources.load(DATA), Folder.at(str(tmp_path / "storage"))
    ends = []
    for weights in (tmp_path / "net.pth", ""):
        asked = spec(weights, epochs=1)
        make_dense(asked, splits, storage, storage / asked.key(), CPU)
        ends.append(checkpoint.load(storage / asked.key()))
    assert not torch.equal(*(end.tensors["network"]["head.weight"] for end in ends))


def test_a_head_for_other_classes_is_trained_anew_or_refused(tmp_path: Path) -> None:
    given, model = network(7, classes=20), network(8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(given.state_dict(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=r"head for the 10 classes of the data, but .*net\.pth has one for 20"):
        pretrained.fill(model, spec(tmp_path / "net.pth"))
    pretrained.fill(model, spec(tmp_path / "net.pth", epochs=1))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, (before if name.startswith("head.") else given.state_dict())[name])


class Hostile:
    def __reduce__(self) -> Any:
        return pytest.fail, ("code of a weights file was run",)


def test_what_is_no_state_dict_of_the_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    for content, message in (
        (b"?", "must be a file that safetensors or torch.load can read"),
        (pickle.dumps(Hostile()), "must be a file that safetensors or torch.load can read"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            pretrained.fill(network(0), spec(path))
    (tmp_path / "net.safetensors").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"safetensors must be a file that safetensors or torch.load can read"):
        pretrained.fill(network(0), spec(tmp_path / "net.safetensors"))
    for saved, message in (
        (network(0), "can read"),
        ([torch.ones(1)], "must hold a state dict"),
        ({"a": 1}, "must hold a state dict"),
        (hub.build("small_cnn", 10, 3, 0.5).state_dict(), "must hold the weights of small_cnn, but: .*size mismatch"),
        ({"a": torch.ones(1)}, "must hold the weights of small_cnn, but: .*Missing key"),
    ):
        torch.save(saved, path)
        with pytest.raises(ValueError, match=f"(?s){message}"):
            pretrained.fill(network(0), spec(path))


def test_torchvisions_own_weights_go_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    asked = DenseSpec(model="squeezenet1_1", weights="IMAGENET1K_V1", recipe=Recipe(epochs=0))
    given, model = (hub.build("squeezenet1_1", 1000, 3) for _ in range(2))
    (tmp_path / "checkpoints").mkdir()
    torch.save(given.state_dict(), tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    pretrained.fill(model, asked)
    assert all(torch.equal(tensor, given.state_dict()[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (
            DenseSpec(weights="nowhere.pth"),
            r"weights of small_cnn must be a file .*\(none for this model\), but got 'nowhere",
        ),
        (
            DenseSpec(model="resnet18", weights="V3"),
            r"weights of resnet18 must .* IMAGENET1K_V1, DEFAULT\), but got 'V3'",
        ),
    ],
)
def test_weights_that_are_nowhere_are_a_complaint(dense: DenseSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretrained.check(dense)
    assert any("weights of" in told for told in missing([dense], DeviceSpec()))


def test_weights_are_not_those_of_another_network_that_scores() -> None:
    dense = DenseSpec(model="resnet20", weights="x")
    assert dense.scored_by(Curriculum(name="easy-first")) == dense
    assert dense.scored_by(Curriculum(name="easy-first", network="vgg16")) == DenseSpec(model="vgg16")


def test_a_file_that_does_not_fit_is_refused_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    WRITERS["net.pth"](network(7).state_dict(), file)
    assert unreachable([TrialSpec(dense=spec(file))]) == []
    WRITERS["net.pth"](network(7, classes=3).state_dict(), file)
    (message,) = unreachable([TrialSpec(dense=spec(file))])
    assert "must have a head for the 10 classes of the data" in message
    file.write_bytes(b"")
    (message,) = unreachable([TrialSpec(dense=spec(file))])
    assert "net.pth must be a file that safetensors or torch.load can read, but: EOFError; correct it" in message
    assert "\n" not in message
