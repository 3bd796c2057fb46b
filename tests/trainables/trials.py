"""Small trials that tests run often, and comparisons of their results."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.artifacts.dense import load_dense, make_dense, saved_dense
from trainables.artifacts.kinds import SHARED
from trainables.artifacts.needs import needed
from trainables.checkpoints import artifact_store, checkpoint
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.curriculum_spec import Curriculum
from trainables.data.splits import AnySplits, Splits
from trainables.data_spec import DataSpec
from trainables.frozen import Frozen
from trainables.models.trust import Trust
from trainables.names import Source
from trainables.outcome import Facts, Outcome
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import OUTCOME, run_trial

CPU = torch.device("cpu")
DATA = DataSpec(max_train=300, max_val=90, augment="crop")
DENSE = DenseSpec(width=0.5, data=DATA, recipe=Recipe(epochs=3, lr=0.05, batch_size=64), seed=1)
WEIGHT = TrialSpec(dense=DENSE, sparsity=0.9, recalibrate=3, finetune=Recipe(epochs=3, lr=0.02, batch_size=64))
CHANNEL = WEIGHT.model_copy(update={"granularity": "channel", "criterion": "l1", "policy": "erk", "sparsity": 0.6})
SPECS = pytest.mark.parametrize("spec", [WEIGHT, CHANNEL], ids=["weight", "channel"])


def storage_with_dense(path: str, splits: Splits) -> Folder:
    folder = Folder.at(path)
    artifact_store.find_or_make(folder, "dense", DENSE.key(), lambda new: make_dense(DENSE, splits, folder, new, CPU))
    return folder


def make_shared(specs: Iterable[TrialSpec], splits: AnySplits, storage: Folder) -> None:
    """Make the dense networks of these trials, and all else that they need, where `storage` lacks them."""

    def dense(spec: DenseSpec) -> None:
        artifact_store.find_or_make(
            storage, "dense", spec.key(), lambda new: make_dense(spec, splits, storage, new, CPU)
        )

    def measured(kind: Source, spec: Frozen) -> None:
        make = SHARED[kind].make
        artifact_store.find_or_make(storage, kind, spec.key(), lambda new: make(spec, splits, storage, new, CPU))

    for trial in specs:
        for network in sorted(trial.networks, key=lambda network: network.curriculum != Curriculum()):
            dense(network)
        for kind, spec in needed(trial).items():
            measured(kind, spec)


def dense_network(storage: Folder) -> torch.nn.Module:
    return load_dense(saved_dense(storage, DENSE), CPU)


def finished(spec: TrialSpec, splits: AnySplits, storage: Folder, path: Path) -> Folder:
    """Run a trial to its end. `storage` has what it shares. Return its folder, which is at `path`."""
    folder = Folder.at(str(path))
    list(run_trial(spec, splits, storage, folder, CPU))
    return folder


def outcome_of(folder: Folder) -> Outcome:
    return Outcome.from_file(folder.read(OUTCOME))


def facts_of(folder: Folder) -> Facts:
    facts = outcome_of(folder).facts
    assert facts is not None
    return facts


def newest(folder: Folder) -> Checkpoint:
    """Load the last epoch that is kept, even if a trial cannot go on from it."""
    return checkpoint.load(
        folder / [name for name in folder.folders() if name.startswith("epoch-")][-1], Trust([DENSE.model])
    )


def without_times(history: list[EpochReport] | tuple[EpochReport, ...]) -> list[EpochReport]:
    return [report.model_copy(update={"seconds": 0.0}) for report in history]


def assert_identical(one: Checkpoint, other: Checkpoint) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for group, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[group].keys()
        assert all(torch.equal(tensor, other.tensors[group][key]) for key, tensor in tensors.items())


class Killed(BaseException):
    """Stands for a kill, which a process cannot catch."""


def run_until_killed(trial: Iterator[EpochReport], epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a trial and kill it when it has saved that many more epochs."""
    save, left = checkpoint.save, epochs

    def watched(*args: Any) -> None:
        nonlocal left
        save(*args)
        left -= 1
        if left == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", watched)
        with pytest.raises(Killed):
            list(trial)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
