"""Streams whose images break or go missing: an error that names the image, and nothing left running."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.image_files import grey, png, save_folder, write_parquet
from tests.trainables.trials import CPU
from trainables.data import sources
from trainables.data.batches import Resident, train_batches
from trainables.data.stream import ahead
from trainables.data_spec import DataSpec

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_broken_image_ends_an_epoch_with_its_name_and_no_thread_left(kind: str, tmp_path: Path) -> None:
    encoded: list[bytes | None] = [png(image) for image in grey(90)]
    if kind == "folder":
        save_folder(tmp_path, {"train/a": 30, "train/b": 30, "val/a": 5})
        (tmp_path / "train/b/17.png").write_bytes(b"?")
        message = r"image must decode, but train/b/17\.png does not"
    else:
        encoded[41] = None
        write_parquet(tmp_path / "train.parquet", encoded, [0, 1, 2] * 30)
        write_parquet(tmp_path / "val.parquet", encoded[:9], [0, 1, 2] * 3)
        message = r"image must be given, but train\.parquet row 41 has none"
    data = DataSpec(name=kind, path=str(tmp_path), loading="stream")
    with pytest.raises(ValueError, match=message):  # while statistics are taken: before any trial
        sources.load(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainables.data.statistics.MOST", 2)
        splits = sources.load(data)
    there = Resident(splits.train, splits, CPU)
    with pytest.raises(ValueError, match=message):
        list(train_batches(there, 8, "none", 0))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_an_image_that_is_gone_is_named_and_a_failing_disk_is_left_to_who_tries_again(tmp_path: Path) -> None:
    save_folder(tmp_path, {"train/a": 9, "train/b": 9, "val/a": 1, "test/a": 1})
    splits = sources.load(DataSpec(name="folder", path=str(tmp_path), loading="stream"))
    there = Resident(splits.train, splits, CPU)
    gone = tmp_path / "train/a/03.png"
    gone.unlink()
    with pytest.raises(ValueError, match=r"image must be readable on every machine, but train/a/03\.png is not"):
        list(train_batches(there, 4, "none", 0))
    gone.symlink_to("/proc/self/mem")  # whose first bytes cannot be read: EIO
    with pytest.raises(OSError, match="Input/output error"):
        list(train_batches(there, 4, "none", 0))


@settings(deadline=None, max_examples=30)  # a shared machine may stall any example
@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 10), st.integers(0, 40))
def test_ahead_keeps_the_order_and_its_distance(count: int, threads: int, most: int, broken: int) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for item in range(count):
            begun.append(item)
            yield item

    def make(item: int) -> int:
        if item == broken:
            raise ValueError(item)
        return -item

    made = []
    with pytest.raises(ValueError, match=str(broken)) if broken < count else nullcontext():
        for result in ahead(make, items(), threads, most):
            made.append(result)
            assert len(begun) <= len(made) + most
    assert made == [-item for item in range(min(count, broken))]
