"""What is not pruned is said: by allocate and profile, at the start of a run, and where a floor is too high."""

from pathlib import Path

import pytest

from search.cli.network_tables import print_allocation, print_compactness
from search.networks.allocation import allocation
from search.networks.network import fresh, trained
from search.networks.profile import compactness
from tests.search.conftest import howcompact
from trainables.catalog import feasibility
from trainables.catalog.remarks import whole_layers
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.data_spec import DataSpec
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder

NETS = """
from torch import nn


def held(num_classes, in_channels):
    wide, head = nn.Conv2d(in_channels, 64, 3), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)]
    return nn.Sequential(wide, nn.Softmax(1), nn.ReLU(), nn.Conv2d(64, 8, 3), nn.ReLU(), *head)

def free(num_classes, in_channels):
    wide, head = nn.Conv2d(in_channels, 64, 3), [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)]
    return nn.Sequential(wide, nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 8, 3), nn.ReLU(), *head)
"""
SETTINGS = {"granularity": "channel", "criterion": "l1", "policy": "uniform", "sparsity": 0.5}


@pytest.fixture(autouse=True)
def _nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "held_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)


def test_an_allocation_says_what_is_not_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    found = allocation(fresh("held_nets:held", "1x8x8", 10, 0), SETTINGS, 0)
    assert found.held == {"0": "softmax in 1", "7": "the network's output"}
    assert next(layer for layer in found.layers if layer.name == "0").density == 1.0
    print_allocation(found)
    assert "\nnot pruned: 0 (softmax in 1), 7 (the network's output)\n" in capsys.readouterr().out


def test_a_profile_says_what_is_not_pruned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8))
    record = {"architecture": built.model_dump(), "data": DataSpec(max_train=50).model_dump()}
    folder = Folder.at(str(tmp_path / "network"))
    checkpoint.save(folder, {"network": built.build().state_dict()}, record)
    found = compactness(trained(folder.uri, "test"), "channel", "l1", 20)
    assert found.held == {"head": "the network's output"}
    assert not found.held.keys() & {part.name for part in found.parts}
    print_compactness(found)
    assert "not pruned: head (the network's output)" in capsys.readouterr().out


def test_a_run_says_which_layers_keep_all_their_channels() -> None:
    def trial(model: str, **settings: object) -> TrialSpec:
        values = {"dense": DenseSpec(model=model), "granularity": "channel", "criterion": "l1", **settings}
        return TrialSpec.model_validate(values)

    held, free, own = trial("held_nets:held"), trial("held_nets:free"), trial("small_cnn")
    weights = trial("held_nets:held", granularity="weight", criterion="magnitude")
    assert whole_layers([held, held, free, own]) == [
        "held_nets:held: 1 of 3 layers keep all their channels: 0 (softmax in 1)"
    ]
    assert whole_layers([free, own, weights]) == []


def test_a_floor_that_is_too_high_is_refused_alike_by_a_run_and_by_allocate(tmp_path: Path) -> None:
    spec = TrialSpec(dense=DenseSpec(model="held_nets:held"), granularity="channel", criterion="l1", sparsity=0.9)
    (of_run,) = feasibility.unreachable([spec])
    least = 64 * 9 + 64 * 9 + 10  # one of the eight channels of the second convolution stays
    assert of_run.startswith(f"held_nets:held: budget must leave at least {least:,} of 5,264 params")
    assert of_run.endswith("; not pruned: 0 (softmax in 1), 7 (the network's output)")
    command = "allocate held_nets:held --policy uniform --sparsity 0.9 --granularity channel --image 1x8x8"
    done = howcompact(*command.split(), "--trust", "held_nets:held", cwd=tmp_path)
    assert done.returncode == 2
    assert of_run.removeprefix("held_nets:held: ") in done.stderr
    assert feasibility.unreachable([spec.model_copy(update={"dense": DenseSpec(model="held_nets:free")})]) == []
