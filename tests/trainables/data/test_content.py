"""Content identifies a data set, wherever it lies. A file is read again only where it may have changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainables.image_files import grey, png, write_parquet
from trainables.data import sources
from trainables.data.content import LARGEST
from trainables.data_spec import DataSpec
from trainables.storage.folder import Folder

LONG_AGO = 1_500_000_000  # seconds since 1970


def age(root: Path) -> None:
    """Let all files look as if nothing had written them for years."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (LONG_AGO, LONG_AGO))


def write_folder(root: Path) -> DataSpec:
    """Images without compression: their files have the same size, whatever is on them."""
    rng = np.random.default_rng(3)
    for number in range(12):
        place = root / "train" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(place / f"{number:02}.bmp")
    age(root)
    return DataSpec(name="folder", path=str(root))


def write_rows(root: Path) -> DataSpec:
    root.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in ("train-0", "train-1"):
        encoded = [png(rng.integers(0, 256, (4, 4), np.uint8)) for _ in range(8)]
        write_parquet(root / f"{name}.parquet", encoded, [0, 1] * 4)
    age(root)
    return DataSpec(name="parquet", path=str(root))


class Identity:
    """Asks for the checksum of data sets, with one storage, and counts the files that are read for it."""

    def __init__(self, storage: Path) -> None:
        self.storage = Folder.at(str(storage))
        self.lines: list[str] = []

    def of(self, data: DataSpec) -> str:
        self.lines.clear()
        found = sources.identified(data, self.storage, self.lines.append)
        assert found == data.model_copy(update={"content": found.content})
        return found.content

    @property
    def read(self) -> int:
        line = next(line for line in self.lines if "identified by" in line)
        return int(line.rpartition("; ")[2].split()[0].replace(",", ""))


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path / "storage")


@pytest.mark.parametrize("write", [write_folder, write_rows])
def test_a_copy_at_another_place_is_the_same_data_set(
    tmp_path: Path, identity: Identity, write: Callable[[Path], DataSpec]
) -> None:
    data = write(tmp_path / "z" / "images")
    known = identity.of(data)
    assert (len(known), identity.read) == (32, len(sources.listing(data).labels) if data.name == "folder" else 2)
    assert (identity.of(data), identity.read) == (known, 0)
    shutil.copytree(tmp_path / "z", tmp_path / "a")  # sorts before the first
    assert identity.of(data.model_copy(update={"path": str(tmp_path / "a" / "images"), "loading": "stream"})) == known
    (tmp_path / "z").rename(tmp_path / "renamed")
    assert identity.of(data.model_copy(update={"path": str(tmp_path / "renamed" / "images")})) == known


@pytest.mark.parametrize("write", [write_folder, write_rows])
def test_two_links_to_the_same_files_share_what_is_known_of_them(
    tmp_path: Path, identity: Identity, write: Callable[[Path], DataSpec]
) -> None:
    data = write(tmp_path / "images")
    known = identity.of(data)
    for name in ("one", "other"):
        (tmp_path / name).symlink_to(tmp_path / "images")
        assert identity.of(data.model_copy(update={"path": str(tmp_path / name)})) == known
        assert identity.read == 0


def test_one_changed_pixel_is_noticed_though_name_and_size_stay(tmp_path: Path, identity: Identity) -> None:
    data = write_folder(tmp_path / "images")
    known, file = identity.of(data), tmp_path / "images" / "train" / "b" / "03.bmp"
    size, content = file.stat().st_size, file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert file.stat().st_size == size
    changed = identity.of(data)
    assert changed != known
    assert identity.read == 1
    file.write_bytes(content)
    assert identity.of(data) == known


def test_a_file_that_has_just_changed_is_read_again_as_it_may_change_within_the_same_tick(
    tmp_path: Path, identity: Identity
) -> None:
    data = write_folder(tmp_path / "images")
    file = tmp_path / "images" / "train" / "b" / "03.bmp"
    file.touch()
    known, modified, content = identity.of(data), file.stat().st_mtime_ns, file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(modified, modified))
    assert identity.of(data) != known
    assert identity.read == 1


def test_a_label_makes_another_data_set(tmp_path: Path, identity: Identity) -> None:
    data = write_folder(tmp_path / "images")
    known, train = identity.of(data), tmp_path / "images" / "train"
    (train / "a" / "00.bmp").rename(train / "b" / "00.bmp")
    assert identity.of(data) != known
    (train / "b" / "00.bmp").rename(train / "a" / "00.bmp")
    assert identity.of(data) == known
    (train / "a").rename(train / "c")  # which comes after b
    assert identity.of(data) != known


def test_a_label_in_parquet_makes_another_data_set(tmp_path: Path, identity: Identity) -> None:
    images = [png(pixels) for pixels in grey(8)]
    found = set()
    for labels in ([0, 1] * 4, [0, 1] * 3 + [1, 0]):
        (tmp_path / "rows").mkdir(exist_ok=True)
        write_parquet(tmp_path / "rows" / "train-0.parquet", images, labels)
        found.add(identity.of(DataSpec(name="parquet", path=str(tmp_path / "rows"))))
    assert len(found) == 2


@pytest.mark.parametrize("name", ["more.bmp", "a/more.txt", ".hidden/a/more.bmp"])
def test_files_that_hold_no_sample_do_not_count(tmp_path: Path, identity: Identity, name: str) -> None:
    data = write_folder(tmp_path / "images")
    known = identity.of(data)
    file = tmp_path / "images" / "train" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    assert identity.of(data) == known


def test_of_very_large_data_sets_only_names_sizes_and_labels_are_told_apart(tmp_path: Path, identity: Identity) -> None:
    data = write_folder(tmp_path / "images")
    big = tmp_path / "images" / "train" / "a" / "big.bmp"
    with big.open("wb") as file:
        file.truncate(LARGEST)  # a hole, which takes no room
    known = identity.of(data)
    (line,) = identity.lines
    assert "13 files" in line
    assert "identified by names, sizes and labels, as they are more than 50 GB" in line
    assert not identity.storage.folders()
    other = tmp_path / "images" / "train" / "b" / "03.bmp"
    other.write_bytes(bytes(other.stat().st_size))
    assert identity.of(data) == known
    other.write_bytes(b"")
    assert identity.of(data) != known


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"\0" * 1000])
def test_a_damaged_record_is_made_anew(tmp_path: Path, identity: Identity, damage: bytes) -> None:
    data = write_folder(tmp_path / "images")
    known = identity.of(data)
    (record,) = (tmp_path / "storage" / "artifacts" / "data").iterdir()
    whole = record.read_bytes()
    record.write_bytes(damage)
    assert (identity.of(data), identity.read) == (known, 12)
    assert record.read_bytes() == whole


def test_who_may_not_write_to_the_storage_still_learns_what_the_data_is(tmp_path: Path, identity: Identity) -> None:
    data = write_folder(tmp_path / "images")
    known = identity.of(data)
    (record,) = (tmp_path / "storage" / "artifacts" / "data").iterdir()
    record.unlink()
    record.mkdir()  # nothing can be written there
    assert (identity.of(data), identity.read) == (known, 12)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, identity: Identity) -> None:
    data = write_folder(tmp_path / "images")
    (tmp_path / "images" / "train" / "a" / "99.bmp").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"each file of a data set must be readable.*99\.bmp"):
        identity.of(data)


@pytest.mark.parametrize("name", ["digits", "cifar10", "cifar100"])
def test_what_its_library_checks_needs_no_checksum(tmp_path: Path, identity: Identity, name: str) -> None:
    path = "" if name == "digits" else str(tmp_path / "nowhere")
    assert identity.of(DataSpec(name=name, path=path)) == ""
    assert not (tmp_path / "nowhere").exists()


def test_fashion_mnist_is_known_by_the_files_that_torchvision_does_not_check(
    tmp_path: Path, identity: Identity
) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            (raw / f"{part}-{kind}").write_text(kind)
    data = DataSpec(name="fashion_mnist", path=str(tmp_path))
    known = identity.of(data)
    assert identity.read == 4
    (raw / "t10k-labels-idx1-ubyte").write_text("other")
    assert identity.of(data) != known
