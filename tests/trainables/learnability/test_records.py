"""Records hold what the network computes for each sample, in whatever order the samples are drawn."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import softmax
from torch import nn

from tests.trainables.trials import (
    CPU,
    DENSE,
    WEIGHT,
    Killed,
    assert_identical,
    cut_short,
    flip_a_byte,
    newest,
    outcome_of,
    run_until_killed,
    storage_with_dense,
    without_times,
)
from trainables.artifacts.dense import make_dense
from trainables.checkpoints import artifact_store, checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data.batches import Batch, Resident, eval_batches
from trainables.data.splits import Split, Splits
from trainables.data_spec import DataSpec
from trainables.learnability.records import Records, read_records
from trainables.recipe import Recipe
from trainables.spec import EpochReport, Taken
from trainables.storage.folder import Folder
from trainables.task.classification import CLASSIFICATION
from trainables.training.fit import fit
from trainables.training.record import TrainingRecord
from trainables.training.recorder import SAMPLES, SCHEMA, Recorder
from trainables.training.saves import State
from trainables.training.train import TrainingPlan
from trainables.trial.trainable import run_trial

DATA = DataSpec(max_train=210, max_val=50)
BUILT = Architecture(model="small_cnn", width=0.5, classes=10, image=(1, 8, 8))
START = EpochReport(epoch=0, val_accuracy=0.0, val_loss=1.0, seconds=0.0)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return sources.load(DATA)


def killed(*_: object) -> None:
    raise Killed


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def recorded(model: nn.Module, splits: Splits, taken: Taken, folder: Folder, augment: DataSpec = DATA) -> Records:
    """Train for two epochs that change nothing, and read the records."""
    recorder = Recorder.of(taken, splits, folder / "epochs", DENSE)
    assert recorder is not None
    data = Resident(splits.train, splits, CPU), Resident(splits.val, splits, CPU)
    plan = TrainingPlan(Recipe(epochs=2, lr=1e-30, batch_size=64, weight_decay=0.0), augment.augment, 3)
    list(fit(State(model, TrainingRecord(architecture=BUILT), [START]), data, plan, folder / "trial", recorder))
    recorder.finish(folder, 2)
    return read_records(folder)


def values(records: Records) -> Mapping[str, Any]:
    return {field.name: getattr(records, field.name) for field in fields(records) if field.name != "taken"}


def assert_equal(one: Records, other: Records) -> None:
    for name, array in values(one).items():
        np.testing.assert_equal(values(other)[name], array, err_msg=name)


@pytest.mark.parametrize("taken", ["during", "after"])
def test_every_sample_of_every_epoch_is_recorded_by_its_formula(taken: Taken, splits: Splits, tmp_path: Path) -> None:
    model = linear()
    (batch,) = eval_batches(Resident(splits.train, splits, CPU), 210)
    logits = model(batch.inputs).detach().double().numpy()
    order = np.argsort(splits.train.ids)
    records = recorded(model, splits, taken, Folder.at(str(tmp_path)))
    assert (records.taken, records.about["model"], records.about["data"]["max_train"]) == (taken, "small_cnn", 300)
    assert records.ids.tolist() == splits.train.ids[order].tolist()
    assert records.labels.tolist() == splits.train.labels[order].tolist()
    assert records.epochs.tolist() == [1, 2]
    assert records.seen.all()
    for sample, row in zip(order, range(210), strict=True):
        label, z = splits.train.labels[sample], logits[sample]
        p, one_hot = softmax(z), np.eye(10)[label]
        for epoch in (0, 1):
            assert records.hits[epoch, row] == (z.argmax() == label)
            assert records.probabilities[epoch, row] == pytest.approx(p[label], abs=1e-6)
            assert records.margins[epoch, row] == pytest.approx(z[label] - np.delete(z, label).max(), abs=1e-5)
            assert records.errors[epoch, row] == pytest.approx(np.linalg.norm(p - one_hot), abs=2e-4)


def test_during_the_pass_the_network_sees_varied_images_and_after_it_plain_ones(splits: Splits, tmp_path: Path) -> None:
    varied = DATA.model_copy(update={"augment": "crop"})
    plain = recorded(linear(), splits, "during", Folder.at(str(tmp_path / "plain")))
    after = recorded(linear(), splits, "after", Folder.at(str(tmp_path / "after")), varied)
    during = recorded(linear(), splits, "during", Folder.at(str(tmp_path / "during")), varied)
    np.testing.assert_allclose(after.margins, plain.margins, atol=1e-5)
    assert np.abs(during.margins - plain.margins).mean() > 0.1


def test_recording_changes_no_training(splits: Splits, tmp_path: Path) -> None:
    networks = []
    for taken in ("off", "during", "after"):
        spec = DENSE.model_copy(update={"record": taken})
        home = Folder.at(str(tmp_path / taken))
        make_dense(spec, splits, home, home / "made", CPU)
        networks.append((home / "made").read("network.safetensors"))
        assert (home / "made").has(SAMPLES) == (taken != "off")
    assert networks[0] == networks[1] == networks[2]


def test_shares_of_several_workers_make_the_whole(splits: Splits, tmp_path: Path) -> None:
    model, data, train = linear(), Resident(splits.train, splits, CPU), splits.train
    (batch,) = eval_batches(data, 210)
    logits = model(batch.inputs)

    def record_of(positions: np.ndarray[Any, Any], name: str) -> pa.Table:
        share = Split(train.images[positions], train.labels[positions], train.ids[positions])
        recorder = Recorder(replace(splits, train=share), "during", Folder.at(str(tmp_path / name)), {})
        some = Batch((None, batch.labels[positions]), batch.inputs, torch.arange(len(positions)))
        recorder.epoch_record.add(some, logits[positions], CLASSIFICATION)
        recorder.end(1, model, data)
        recorder.finish(Folder.at(str(tmp_path / name)), 1)
        return pq.read_table(tmp_path / name / SAMPLES)

    mixed = np.random.default_rng(0).permutation(210)
    shares = [record_of(mixed[:80], "one"), record_of(mixed[80:], "other")]
    assert_equal(Records.of(pa.concat_tables(shares)), Records.of(record_of(np.arange(210), "whole")))


def test_the_last_draw_of_an_epoch_counts_and_samples_not_drawn_are_not_seen(splits: Splits, tmp_path: Path) -> None:
    data, train, home = Resident(splits.train, splits, CPU), splits.train, Folder.at(str(tmp_path))
    recorder = Recorder(splits, "during", home / "epochs", {})
    images = torch.zeros(2, 1, 8, 8)
    for sign in (1.0, -1.0):
        logits = sign * 3.0 * nn.functional.one_hot(torch.tensor(train.labels[[5, 7]]), 10)
        labels = torch.tensor(train.labels[[5, 7]])
        recorder.epoch_record.add(Batch((images, labels), images, torch.tensor([5, 7])), logits, CLASSIFICATION)
    recorder.end(1, linear(), data)
    for label in range(10):
        chosen = torch.from_numpy(np.flatnonzero(train.labels == label))
        logits = torch.eye(10)[label].expand(len(chosen), 10)
        labels = torch.full((len(chosen),), label)
        recorder.epoch_record.add(Batch((images, labels), images, chosen), logits, CLASSIFICATION)
    recorder.end(2, linear(), data)
    recorder.finish(home, 2)
    records = read_records(home)
    assert records.ids[records.seen[0]].tolist() == sorted(train.ids[[5, 7]])
    assert records.margins[0, records.seen[0]].tolist() == [-3.0, -3.0]
    assert not records.hits[0].any()
    assert np.isnan(records.margins[0, ~records.seen[0]]).all()
    assert records.hits[1].all()
    assert records.seen[1].all()


@pytest.mark.parametrize("taken", ["during", "after"])
def test_a_trial_that_goes_on_has_the_record_of_one_that_was_never_stopped(taken: Taken, tmp_path: Path) -> None:
    splits = sources.load(DENSE.data)
    storage = storage_with_dense(str(tmp_path), splits)
    dropping = Curriculum(name="drop-hardest", fraction=0.4)
    spec = WEIGHT.model_copy(update={"record": taken, "curriculum": dropping})
    plain, broken = storage / "plain", storage / "broken"
    list(run_trial(spec, splits, storage, plain, CPU))
    for report in run_trial(spec, splits, storage, broken, CPU):
        if report.epoch == 2:
            break
    list(run_trial(spec, splits, storage, broken, CPU))
    assert broken.read(SAMPLES) == plain.read(SAMPLES)
    assert "samples" not in plain.folders()
    records = read_records(plain)
    assert records.epochs.tolist() == ([0, 1, 2, 3] if taken == "after" else [1, 2, 3])
    assert len(records.ids) == (300 if taken == "after" else 180)  # 40 % were never drawn


@pytest.mark.parametrize(
    ("taken", "lost", "damage"),
    [("during", 1, flip_a_byte), ("during", 2, Path.unlink), ("after", 0, cut_short), ("after", 2, flip_a_byte)],
)
def test_a_trial_whose_recorded_epoch_is_damaged_goes_on_from_before_it(
    taken: Taken, lost: int, damage: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = sources.load(DENSE.data)
    storage = storage_with_dense(str(tmp_path), splits)
    spec = WEIGHT.model_copy(update={"record": taken})
    plain, broken = storage / "plain", storage / "broken"
    list(run_trial(spec, splits, storage, plain, CPU))
    run_until_killed(run_trial(spec, splits, storage, broken, CPU), 3, monkeypatch)  # epochs 0, 1, 2
    damage(tmp_path / "broken" / "samples" / f"{lost:05d}.parquet")
    list(run_trial(spec, splits, storage, broken, CPU))
    assert broken.read(SAMPLES) == plain.read(SAMPLES)
    assert without_times(outcome_of(broken).history) == without_times(outcome_of(plain).history)
    assert_identical(newest(broken), newest(plain))


def test_a_dense_training_whose_recorded_epoch_is_damaged_goes_on_from_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = sources.load(DENSE.data)
    plain, broken = Folder.at(str(tmp_path / "plain")), Folder.at(str(tmp_path / "broken"))
    make_dense(DENSE, splits, plain, plain / "made", CPU)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "finish", killed)
        with pytest.raises(Killed):
            make_dense(DENSE, splits, broken, broken / "made", CPU)
    (epoch,) = (tmp_path / "broken").glob("artifacts/unfinished/*/samples/00002.parquet")
    flip_a_byte(epoch)
    make_dense(DENSE, splits, broken, broken / "made", CPU)
    assert (broken / "made").read(SAMPLES) == (plain / "made").read(SAMPLES)
    assert_identical(checkpoint.load(broken / "made"), checkpoint.load(plain / "made"))


def test_parquet_describes_its_columns(tmp_path: Path) -> None:
    storage = storage_with_dense(str(tmp_path), sources.load(DENSE.data))
    folder = artifact_store.find(storage, "dense", DENSE.key())
    assert folder is not None
    table = pq.read_table(Path(folder.uri) / SAMPLES)
    assert table.schema.names == SCHEMA.names
    assert len(table) == 3 * 300
    assert all(table.schema.field(name).metadata[b"description"] for name in SCHEMA.names)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"must be recorded .*has no samples\.parquet; set records\.dense or records\.finetune"
    ):
        read_records(Folder.at(str(tmp_path)))
