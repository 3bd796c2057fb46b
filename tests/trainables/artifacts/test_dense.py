"""Dense networks and their profiles, from which trials start."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.trials import CHANNEL, CPU, DENSE, assert_identical, dense_network, facts_of, without_times
from trainables.allocation.plan import plan
from trainables.artifacts.dense import make_dense, saved_dense
from trainables.artifacts.profile import load_profile, make_profile
from trainables.artifacts.record import DenseRecord
from trainables.checkpoints import artifact_store, checkpoint, manifest
from trainables.data.splits import Splits
from trainables.outcome import Cost
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.training.fit import fit
from trainables.training.recorder import SAMPLES
from trainables.trial.trainable import run_trial


def killed_after_two(*args: Any) -> Iterator[EpochReport]:
    yield from islice(fit(*args), 2)
    raise KeyboardInterrupt


def test_interrupted_dense_training_goes_on_as_if_nothing_had_happened(
    splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved_dense(storage, DENSE)
    home = Folder.at(str(tmp_path))
    folder, unfinished = home / "made", home / "artifacts" / "unfinished" / DENSE.key()
    with monkeypatch.context() as patched:
        patched.setattr("trainables.artifacts.dense.fit", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            make_dense(DENSE, splits, home, folder, CPU)
    assert not manifest.is_whole(folder)
    assert unfinished.folders()
    make_dense(DENSE, splits, home, folder, CPU)
    resumed = checkpoint.load(folder)
    assert_identical(resumed, whole)
    record = resumed.read(DenseRecord)
    assert without_times(record.history) == without_times(whole.read(DenseRecord).history)
    of_whole = artifact_store.find(storage, "dense", DENSE.key())
    assert of_whole is not None
    assert folder.read(SAMPLES) == of_whole.read(SAMPLES)
    assert record.val_accuracy == record.history[-1].val_accuracy
    assert unfinished.folders() == []


def test_profiled_trial_looks_at_the_shared_profile_and_is_charged_for_it(
    splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec = CHANNEL.model_copy(update={"policy": "capacity-functional", "calibration": 60})
    saved = artifact_store.find_or_make(
        storage,
        "profile",
        spec.profile.key(),
        lambda folder: make_profile(spec.profile, splits, storage, folder, CPU),
    )
    profile, cost = load_profile(saved)
    assert all(len(curve) == len(profile.levels) for curve in profile.accuracy.values())
    assert {round(a * 60, 6) % 1 for curve in profile.accuracy.values() for a in curve} == {
        0.0
    }  # multiples of 1/60: there are 60 samples
    list(run_trial(spec, splits, storage, Folder.at(str(tmp_path)), CPU))
    facts = facts_of(Folder.at(str(tmp_path)))
    assert cost.seconds > 0
    assert cost.images == 60 * (cost.evaluations or 0) > 0
    charged = {name: getattr(facts, f"profile_{name}") for name in Cost.model_fields}
    assert Cost.model_validate(charged) == cost
    assert (facts.allocation_evaluations, facts.allocation_images) == (0, 0)
    assert facts.parts == plan(dense_network(storage), torch.zeros(1, 1, 8, 8), spec, None, {"profile": profile}).parts
