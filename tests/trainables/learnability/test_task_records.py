"""Tasks are recorded and trained by curricula as the classification of images is: it is the built-in task."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.image_task import PLAIN, as_task, right
from tests.trainables.trials import (
    CPU,
    WEIGHT,
    assert_identical,
    finished,
    make_shared,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.artifacts.dense import make_dense
from trainables.checkpoints import artifact_store, checkpoint
from trainables.curriculum_spec import Curriculum
from trainables.data.collated import labels_of, on_device
from trainables.data.splits import AnySplits, Splits
from trainables.learnability.measures import measures_for
from trainables.learnability.records import Records, read_records
from trainables.names import MEASURES_OF_LABELS
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.task.metrics import second
from trainables.training.recorder import HITS, SAMPLES, Recorder
from trainables.trial.trainable import run_trial

TRIAL = WEIGHT.model_copy(update={"dense": WEIGHT.dense.model_copy(update={"data": PLAIN}), "record": "after"})


def run(spec: TrialSpec, splits: AnySplits, home: Path) -> Folder:
    storage = Folder.at(str(home))
    make_shared([spec], splits, storage)
    finished(spec, splits, storage, home / "trial")
    return storage


def dense_records(storage: Folder, spec: TrialSpec) -> Records:
    folder = artifact_store.find(storage, "dense", spec.dense.key())
    assert folder is not None
    return read_records(folder)


@pytest.mark.parametrize(
    "curriculum",
    [
        Curriculum(name="easy-first", measure="aum", start=0.5),
        Curriculum(name="drop-hardest", fraction=0.4, balanced=False),
        Curriculum(name="weigh-hard", measure="confidence", phase="dense"),
    ],
    ids=lambda each: each.name,
)
def test_a_task_with_labels_is_the_classification_of_images(
    curriculum: Curriculum, images: Splits, tmp_path: Path
) -> None:
    in_dense = TRIAL.dense.model_copy(update={"curriculum": curriculum})
    spec = TRIAL.model_copy(update={"dense": in_dense} if curriculum.phase == "dense" else {"curriculum": curriculum})
    one = run(spec, images, tmp_path / "images")
    other = run(spec, as_task(images, labels=second), tmp_path / "task")
    assert (one / "trial").read(SAMPLES) == (other / "trial").read(SAMPLES)
    for network in spec.networks:
        folders = [artifact_store.find(storage, "dense", network.key()) for storage in (one, other)]
        assert folders[0] is not None
        assert folders[1] is not None
        assert folders[0].read(SAMPLES) == folders[1].read(SAMPLES)
        assert_identical(checkpoint.load(folders[0]), checkpoint.load(folders[1]))
    assert without_times(outcome_of(one / "trial").history) == without_times(outcome_of(other / "trial").history)
    assert_identical(newest(one / "trial"), newest(other / "trial"))


def test_hits_alone_are_those_of_the_images_and_order_them_alike(images: Splits, tmp_path: Path) -> None:
    spec = TRIAL.model_copy(update={"curriculum": Curriculum(name="easy-first", balanced=False)})
    one, other = run(spec, images, tmp_path / "images"), run(spec, as_task(images, hits=right), tmp_path / "task")
    for whole, hits in (
        (dense_records(one, spec), dense_records(other, spec)),
        (read_records(one / "trial"), read_records(other / "trial")),
    ):
        assert np.array_equal(whole.ids, hits.ids)
        assert np.array_equal(whole.hits, hits.hits)
        assert np.array_equal(whole.right, hits.right)
        assert hits.labels.tolist() == [-1] * 300
        assert np.isnan(hits.margins).all()
        assert {*measures_for(whole)} - {*measures_for(hits)} == {*MEASURES_OF_LABELS}
        for name, measure in measures_for(hits).items():
            assert np.array_equal(measure.of(hits), measure.of(whole)), name
    assert pq.read_table(tmp_path / "task" / "trial" / SAMPLES).schema.names == HITS.names
    assert without_times(outcome_of(one / "trial").history) == without_times(outcome_of(other / "trial").history)
    assert_identical(newest(one / "trial"), newest(other / "trial"))


def test_a_task_without_labels_orders_all_samples_as_one_class(images: Splits, tmp_path: Path) -> None:
    dropping = Curriculum(name="drop-hardest", fraction=0.5)
    spec = TRIAL.model_copy(update={"curriculum": dropping, "record": "during"})
    storage = run(spec, as_task(images, hits=right), tmp_path)
    records = dense_records(storage, spec)
    learnt = measures_for(records)["learnability"].of(records)
    kept = np.isin(records.ids, read_records(storage / "trial").ids)
    assert kept.sum() == 150
    assert learnt[kept].min() >= learnt[~kept].max()


def halves(logits: Tensor, batch: Any) -> Tensor:
    """Half for the even or odd digit, and half for the digit itself."""
    found, labels = logits.argmax(1), second(batch)
    return ((found == labels).float() + (found % 2 == labels % 2).float()) / 2


def test_shares_are_recorded_as_they_are(images: Splits, tmp_path: Path) -> None:
    splits, folder = as_task(images, hits=halves), Folder.at(str(tmp_path))
    recorder = Recorder.of("after", splits, folder / "epochs", TRIAL.dense)
    assert recorder is not None
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), on_device(splits.train, splits, CPU)
    recorder.end(1, model, data)
    recorder.finish(folder, 1)
    records = read_records(folder)
    inputs, labels = data.whole()
    found = model(inputs).argmax(1)
    expected = 0.5 * (found == labels).float() + 0.5 * (found % 2 == labels % 2).float()
    shares = expected.numpy()[np.argsort(splits.train.ids)]
    assert {0.0, 0.5, 1.0} == {*shares.tolist()}
    assert records.hits[0].tolist() == shares.tolist()
    assert records.right[0].tolist() == (shares > 0).tolist()  # half of the predictions make a sample right
    of = {name: measure.of(records) for name, measure in measures_for(records).items()}
    assert of["learnability"].tolist() == of["correctness"].tolist() == shares.tolist()
    assert of["first-learned"].tolist() == np.where(shares > 0, 1, 2).tolist()
    assert of["forgetting"].tolist() == np.where(shares > 0, 0, 1).tolist()


@pytest.mark.parametrize("wrong", [2.0, -0.5, torch.nan])
def test_hits_that_leave_their_range_in_training_are_named(wrong: float, images: Splits, tmp_path: Path) -> None:
    def sometimes(logits: Tensor, batch: Any) -> Tensor:
        return torch.where(batch[1] == 3, wrong, 1.0)

    splits = as_task(images, hits=sometimes)
    with pytest.raises(
        ValueError, match=r"hits of a Task must be shares from 0 to 1, but sample \d+ has .* in epoch 1"
    ):
        make_dense(TRIAL.dense, splits, Folder.at(str(tmp_path)), Folder.at(str(tmp_path / "made")), CPU)


def test_a_task_that_says_nothing_of_hits_is_not_recorded(images: Splits, tmp_path: Path) -> None:
    splits = as_task(images)
    assert Recorder.of("during", splits, Folder.at(str(tmp_path)), TRIAL.dense) is None
    assert labels_of(splits.train, splits.objective) is None


def test_a_killed_trial_of_a_task_under_a_curriculum_ends_as_an_undisturbed_one(
    images: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TRIAL.model_copy(update={"curriculum": Curriculum(name="sample-hard", measure="forgetting")})
    splits = as_task(images, hits=halves)
    storage = run(spec, splits, tmp_path)
    broken = storage / "broken"
    run_until_killed(run_trial(spec, splits, storage, broken, CPU), 2, monkeypatch)
    list(run_trial(spec, splits, storage, broken, CPU))
    assert broken.read(SAMPLES) == (storage / "trial").read(SAMPLES)
    assert without_times(outcome_of(broken).history) == without_times(outcome_of(storage / "trial").history)
    assert_identical(newest(broken), newest(storage / "trial"))
