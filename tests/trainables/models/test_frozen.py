"""Frozen layers of a user's network are pruned, and keep their values through a whole trial."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.trainables.trials import CPU, DATA, make_shared, newest
from trainables.artifacts.dense import saved_dense
from trainables.catalog import feasibility
from trainables.data import sources
from trainables.names import RecoveryName
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

NETS = """
from torch import nn

def partly(num_classes, in_channels):
    net = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    net[0].requires_grad_(False)
    return net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)])

def wholly(num_classes, in_channels):
    return partly(num_classes, in_channels).requires_grad_(False)
"""


@pytest.fixture(autouse=True)
def _nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frozen_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)


def trial_of(model: str, recovery: RecoveryName, dense: int, finetune: int) -> TrialSpec:
    return TrialSpec(
        dense=DenseSpec(model=f"frozen_nets:{model}", data=DATA, recipe=Recipe(epochs=dense, lr=0.1)),
        granularity="channel",
        criterion="l1",
        sparsity=0.5,
        recovery=recovery,
        finetune=Recipe(epochs=finetune, lr=0.1),
        recalibrate=0,
    )


def run(spec: TrialSpec, home: Path) -> tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]:
    """Run a trial; return the tensors of the dense network and of the pruned one."""
    storage, splits = Folder.at(str(home)), sources.load(DATA)
    make_shared([spec], splits, storage)
    reports = list(run_trial(spec, splits, storage, storage / "trial", CPU))
    assert reports[-1].final
    return saved_dense(storage, spec.dense).tensors["network"], newest(storage / "trial").tensors["network"]


@pytest.mark.parametrize("recovery", ["finetune", "scratch"])
def test_a_frozen_layer_is_pruned_and_keeps_its_values(recovery: RecoveryName, tmp_path: Path) -> None:
    dense, pruned = run(trial_of("partly", recovery, 1, 1), tmp_path)
    frozen, left = dense["0.weight"].flatten(1), pruned["0.weight"].flatten(1)
    assert 0 < len(left) < len(frozen)
    assert all((frozen == row).all(1).any() for row in left)
    assert not any((dense["7.weight"] == column).all(1).any() for column in pruned["7.weight"].T[:, :1])


@pytest.mark.parametrize(("dense", "finetune"), [(1, 0), (0, 2), (1, 2)])
def test_a_network_without_a_parameter_to_train_is_refused(dense: int, finetune: int) -> None:
    (problem,) = feasibility.unreachable([trial_of("wholly", "finetune", dense, finetune)])
    assert problem.startswith("frozen_nets:wholly must have a parameter to train, but all are frozen")
    assert ("dense.epochs=1" in problem, "finetune.epochs=2" in problem) == (dense > 0, finetune > 0)


def test_a_network_without_a_parameter_to_train_is_pruned_as_it_is(tmp_path: Path) -> None:
    spec = trial_of("wholly", "finetune", 0, 0)
    assert feasibility.unreachable([spec]) == []
    dense, pruned = run(spec, tmp_path)
    assert all((dense["0.weight"] == row).flatten(1).all(1).any() for row in pruned["0.weight"])
