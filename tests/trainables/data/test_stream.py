"""Streams: the same samples as from memory, in bounded memory."""

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.trainables.image_files import grey, png, save_folder, write_parquet
from tests.trainables.trials import CPU, assert_identical, make_shared, newest, outcome_of, without_times
from trainables.curriculum_spec import Curriculum
from trainables.data import memory, sources
from trainables.data.batches import Augment, Batch, Drawn, Resident, Share, eval_batches, train_batches
from trainables.data.splits import Splits
from trainables.data.stream import Stream
from trainables.data_spec import DataSpec
from trainables.names import CUTTING
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.fixture(scope="module", params=["folder", "parquet"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataSpec:
    """The first digits of scikit-learn in files."""
    root = tmp_path_factory.mktemp(request.param)
    digits = load_digits()
    pixels, labels = (digits.images[:400] * 15).astype(np.uint8), digits.target[:400]
    if request.param == "folder":
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            (root / str(label)).mkdir(exist_ok=True)
            (root / str(label) / f"{number:03}.png").write_bytes(png(image))
    else:
        for name, start, stop in (("train-0", 0, 150), ("train-1", 150, 160), ("train-2", 160, 320), ("val", 320, 400)):
            encoded = [png(image) for image in pixels[start:stop]]
            write_parquet(root / f"{name}.parquet", encoded, labels[start:stop].tolist(), list("0123456789"))
    return DataSpec(name=request.param, path=str(root))


def both(data: DataSpec) -> tuple[Splits, Splits]:
    """Splits of the same data in memory and streamed."""
    return tuple(sources.load(data.model_copy(update={"loading": how})) for how in ("memory", "stream"))  # type: ignore[return-value]


def assert_same_batches(one: Iterator[Batch], other: Iterator[Batch]) -> None:
    for mine, yours in zip(one, other, strict=True):
        assert torch.equal(mine.index, yours.index)
        assert torch.equal(mine.content[1], yours.content[1])
        assert torch.equal(mine.images, yours.images)


@pytest.mark.parametrize("augment", [name for name in get_args(Augment) if name not in CUTTING])
def test_a_stream_gives_what_memory_gives(data: DataSpec, augment: Augment) -> None:
    memory, streamed = both(data)
    assert isinstance(streamed.train.held, Stream)
    assert (streamed.mean, streamed.std, streamed.classes) == (memory.mean, memory.std, memory.classes)
    assert np.array_equal(streamed.train.ids, memory.train.ids)
    there, here = (Resident(splits.train, splits, CPU) for splits in (memory, streamed))
    drawn = Drawn(torch.tensor([3, 3, 0, 200, 17] * 9), torch.rand(45))
    for draw in (None, drawn):
        assert_same_batches(train_batches(there, 37, augment, 5, draw), train_batches(here, 37, augment, 5, draw))
    assert here.taken == there.taken
    there, here = (Resident(splits.val, splits, CPU) for splits in (memory, streamed))
    assert_same_batches(eval_batches(there, 50), eval_batches(here, 50))


def test_workers_share_the_batches_of_a_stream(data: DataSpec) -> None:
    memory, streamed = both(data)
    there, here = (Resident(splits.train, splits, CPU) for splits in (memory, streamed))
    whole = list(train_batches(there, 5, "crop_flip", 5, Drawn(torch.arange(62))))  # the last batch has two for three
    shares = [train_batches(here, 5, "crop_flip", 5, Drawn(torch.arange(62)), Share(first, 3)) for first in range(3)]
    for batch, *taken in zip(whole, *shares, strict=True):
        for first, part in enumerate(taken):
            assert torch.equal(part.inputs, batch.inputs[first::3])
            assert torch.equal(part.index, batch.index[first::3])
            assert part.mean_share == len(batch.index) / 3
    assert here.taken == 3 * there.taken
    halves = [torch.cat([batch.index for batch in eval_batches(here, 50, Share(n, 2))]) for n in range(2)]
    assert sorted(torch.cat(halves).tolist()) == list(range(len(here)))


def test_a_trial_on_a_stream_is_the_trial_on_memory(data: DataSpec, tmp_path: Path) -> None:
    """Dense training with records, a policy that looks at samples, recalibration, a curriculum, a teacher."""
    dense = DenseSpec(width=0.5, data=data, recipe=Recipe(epochs=2, batch_size=64))
    spec = TrialSpec(
        dense=dense,
        policy="capacity",
        calibration=48,
        sparsity=0.8,
        recalibrate=2,
        finetune=Recipe(epochs=2, batch_size=64),
        recovery="distill",
        curriculum=Curriculum(name="easy-first"),
        record="after",
    )
    ends = []
    for splits, name in zip(both(data.model_copy(update={"augment": "crop_flip"})), ("memory", "stream"), strict=True):
        storage, folder = Folder.at(str(tmp_path / name)), Folder.at(str(tmp_path / name / "trial"))
        make_shared([spec], splits, storage)
        list(run_trial(spec, splits, storage, folder, CPU))
        ends.append((newest(folder), without_times(outcome_of(folder).history), folder.read("samples.parquet")))
    (one, history, records), (other, other_history, other_records) = ends
    assert_identical(one, other)
    assert history == other_history
    assert records == other_records


def test_random_parts_are_cut_from_whole_images_and_follow_from_the_seed(tmp_path: Path) -> None:
    save_folder(tmp_path, {"train/a": 20, "train/b": 20})
    for path in sorted(tmp_path.rglob("*.png"))[::2]:
        path.write_bytes(png(grey(1, 64)[0]))
    data = DataSpec(name="folder", path=str(tmp_path), size=16, fit="crop", augment="resized_crop_flip")
    splits = sources.load(data)
    there = Resident(splits.train, splits, CPU)
    first, again, other = (
        torch.cat([batch.images for batch in train_batches(there, 8, data.augment, seed)]) for seed in (1, 1, 2)
    )
    assert first.shape[1:] == (1, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    plain = torch.cat([batch.images for batch in train_batches(there, 8, "none", 1)])
    assert not any(torch.equal(a, b) for a, b in zip(first, plain, strict=True))


def test_an_epoch_that_nobody_goes_on_with_leaves_no_thread(data: DataSpec) -> None:
    splits = both(data)[1]
    batches = train_batches(Resident(splits.train, splits, CPU), 8, "none", 0)
    next(batches)
    del batches
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_stream_travels_without_its_images(data: DataSpec) -> None:
    splits = both(data)[1]
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(splits, protocol=5, buffer_callback=buffers.append)
    assert len(head) < 8192
    there: Splits = pickle.loads(head, buffers=buffers)
    assert isinstance(there.val.held, Stream)
    assert isinstance(splits.val.held, Stream)
    assert np.array_equal(there.val.held.take(np.arange(9)), splits.val.held.take(np.arange(9)))


def test_images_stream_where_they_have_no_room(data: DataSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sources.load(data)
    needed = whole.train.images.nbytes + whole.val.images.nbytes
    for limit, kept in ((needed, np.ndarray), (needed - 1, Stream)):
        monkeypatch.setattr(memory, "of_machine", lambda limit=limit: limit)
        splits = sources.load(data)
        assert isinstance(splits.train.held, kept)
        assert isinstance(sources.load_test(data).held, np.ndarray)
        count, where = len(splits.train) + len(splits.val), "streamed" if kept is Stream else "in memory"
        assert sources.loading_message(data, splits) == (
            f"{count} images (0.0 MB decoded) are {where}: images may take 0.0 MB of this machine's memory"
        )
    forced = data.model_copy(update={"loading": "memory"})
    splits = sources.load(forced)
    assert isinstance(splits.train.held, np.ndarray)
    assert sources.loading_message(forced, splits).endswith("are in memory: data.loading says so")


def test_room_is_a_part_of_what_the_container_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = memory.of_machine()
    assert machine > 2**28
    (tmp_path / "limit").write_text("max\n")
    monkeypatch.setattr(memory, "LIMITS", (str(tmp_path / "missing"), str(tmp_path / "limit")))
    assert memory.of_machine() >= machine
    (tmp_path / "limit").write_text(f"{2**30}\n")
    assert memory.of_machine() == 2**28


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_a_gpu_is_fed_what_it_would_hold(data: DataSpec, augment: Augment, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, streamed = both(data)
    holds, fed = (Resident(splits.train, splits, "cuda") for splits in (memory, streamed))
    monkeypatch.setattr(memory, "OF_GPU", 0)
    too_large = Resident(memory.train, memory, "cuda")
    assert isinstance(holds.held, torch.Tensor)
    assert isinstance(too_large.held, np.ndarray)
    for other in (fed, too_large):
        assert_same_batches(train_batches(holds, 37, augment, 5), train_batches(other, 37, augment, 5))
        assert_same_batches(eval_batches(holds, 50), eval_batches(other, 50))


EPOCH = """
import resource, sys
import torch
torch.set_num_threads(2)
from trainables.data import memory, sources
from trainables.data.batches import Resident, train_batches
from trainables.data_spec import DataSpec
splits = sources.load(DataSpec(name="folder", path=sys.argv[1], loading="stream", normalise="imagenet"))
there = Resident(splits.train, splits, "cpu")
for step, batch in enumerate(train_batches(there, 32, "none", 0)):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(splits.train.held.nbytes, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_an_epoch_takes_the_memory_of_some_batches(tmp_path: Path) -> None:
    """Of 140 MB of pixels, the peak moves by less than a tenth once the first batches are through."""
    (tmp_path / "one").write_bytes(png(np.zeros((128, 128, 3))))
    for label in "ab":
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2000):
            (tmp_path / "data" / label / f"{number}.png").hardlink_to(tmp_path / "one")
    told = subprocess.check_output([sys.executable, "-c", EPOCH, str(tmp_path / "data")], text=True)
    decoded, grown = map(int, told.split())
    assert decoded > 100e6
    assert grown < decoded / 10
