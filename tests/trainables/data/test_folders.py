"""Image folders, with splits of their own and without."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainables.image_files import everything, save_folder
from trainables.data import sources
from trainables.data.types import Shape
from trainables.data_spec import DataSpec


def test_image_folder_with_splits_of_its_own(tmp_path: Path) -> None:
    saved = save_folder(tmp_path, {"train/cat": 4, "train/dog/deep": 3, "valid/dog": 2, "test/cat": 1, "test/dog": 1})
    (tmp_path / "train/cat/.hidden.png").write_bytes(b"?")
    (tmp_path / "train/cat/notes.txt").write_bytes(b"?")
    data = DataSpec(name="folder", path=str(tmp_path))
    images, labels, _ = everything(data)
    assert np.array_equal(images[:, 0], np.stack(list(saved.values())))
    assert labels.tolist() == [0] * 4 + [1] * 3 + [1] * 2 + [0, 1]
    assert sources.load(data).classes == ("cat", "dog")
    assert sources.peek(data) == Shape(1, 4, 4, 2)
    assert sorted(sources.load(data).val.ids) == [7, 8]
    (tmp_path / "train/dog/deep/01.png").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"image must decode, but train/dog/deep/01\.png does not"):
        sources.load(data)


def test_image_folder_of_classes_is_split_by_fractions(tmp_path: Path) -> None:
    saved = save_folder(tmp_path, {"a": 10, "b": 20})
    data = DataSpec(name="folder", path=str(tmp_path), test_fraction=0.3, val_fraction=0.5)
    images, _, _ = everything(data)
    assert np.array_equal(images[:, 0], np.stack(list(saved.values())))
    assert np.bincount(sources.load_test(data).labels).tolist() == [3, 6]
    assert np.bincount(sources.load(data).val.labels).tolist() == [4, 7]


def test_image_folders_that_cannot_work_are_refused(tmp_path: Path) -> None:
    data = DataSpec(name="folder", path=str(tmp_path))
    with pytest.raises(ValueError, match="must hold a folder for each class"):
        sources.check(data)
    save_folder(tmp_path, {"test/a": 2})
    with pytest.raises(ValueError, match="with test/ must also have train/"):
        sources.check(data)
    save_folder(tmp_path, {"train/b": 5, "train/c": 5})
    with pytest.raises(ValueError, match="every class must have a training folder, but test/a has none"):
        sources.check(data)
    (tmp_path / "train/a").mkdir()
    (tmp_path / "train/a/photo.heic").write_bytes(b"?")
    message = r"each class folder must hold images, but train/a/ has none that can be read, only 1 \.heic; add images"
    with pytest.raises(ValueError, match=message):
        sources.check(data)


def folder(root: Path) -> DataSpec:
    return DataSpec(name="folder", path=str(root))


def sizes(data: DataSpec) -> tuple[list[int], list[int], list[int]]:
    """Return the number of images of each class in train, val and test."""
    splits, test = sources.load(data), sources.load_test(data)
    train, val, test = (np.bincount(part.labels).tolist() for part in (splits.train, splits.val, test))
    return train, val, test


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "VAL", "Test"),
        ("training", "validation", "testing"),
        ("TRAINING", "Valid", "eval"),
        ("train", "dev", "Testing"),
    ],
)
def test_splits_have_their_usual_names_in_any_case(tmp_path: Path, train: str, val: str, test: str) -> None:
    counts = {f"{train}/a": 5, f"{train}/b": 4, f"{val}/a": 3, f"{val}/b": 2, f"{test}/a": 1, f"{test}/b": 6}
    saved = save_folder(tmp_path, counts)
    images, _, _ = everything(folder(tmp_path))
    assert np.array_equal(images[:, 0], np.stack(list(saved.values())))
    assert sizes(folder(tmp_path)) == ([5, 4], [3, 2], [1, 6])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train/a": 2, "train/b": 2, "train2/a": 2}, "folders beside splits must be splits .*, but train2/ of"),
        ({"train/a": 2, "train/b": 2, "holdout/a": 2}, "but holdout/ of .* is not; rename it, move it away"),
        ({"Train_images/a": 2, "Test_images/a": 2}, "but Test_images/ of .* is not"),
        ({"a": 2, "b": 2, "hold-out": 2}, "but hold-out/ of .* is not"),
        ({"train/a": 2, "train/b": 2, "val/a": 1, "Valid/a": 1}, "Valid/ and val/ of .* are both the val split; merge"),
        ({"fruit/train/a": 2, "fruit/test/a": 2}, "splits must lie above classes, but fruit/ holds t.*/fruit'"),
        ({"a/train": 2, "a/test": 1, "b/train": 2}, "splits must lie above classes, but a/ holds t"),
        ({"fruit/a": 2, "fruit/b": 2}, "must have two classes or more, but .* has 1"),
        (
            {"train/a": 2, "train/b": 2, "val/a": 0},
            "a split must hold images, but val/ has none; add some, or remove it",
        ),
        ({"train/a": 2}, "must have two classes or more, but .* has 1"),
    ],
)
def test_what_looks_like_a_split_or_one_class_is_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    save_folder(tmp_path, counts)
    for ask in (sources.check, sources.peek, sources.load):
        with pytest.raises(ValueError, match=message):
            ask(folder(tmp_path))


def test_system_files_are_left_out_and_said(tmp_path: Path) -> None:
    save_folder(tmp_path, {"train/a": 4, "train/b": 3})
    before = [part.tolist() for part in everything(folder(tmp_path))]
    save_folder(tmp_path, {"@eaDir": 1, "__MACOSX/train/a": 1, "train/@eaDir": 1, "train/a/@eaDir": 2})
    save_folder(tmp_path, {"train/.thumbnails": 1, "train/b/__MACOSX": 1})
    (tmp_path / "notes").mkdir()
    for name in (
        "train/a/.DS_Store",
        "train/b/Thumbs.db",
        "train/a/._00.png",
        "train/b/x.heic",
        "README",
        "train/y.png",
    ):
        (tmp_path / name).write_bytes(b"?")
    splits = sources.load(folder(tmp_path))
    assert [part.tolist() for part in everything(folder(tmp_path))] == before
    assert splits.classes == ("a", "b")
    (line,) = (line for line in sources.start_messages(folder(tmp_path), splits) if line.startswith("left out"))
    assert line == (
        "left out: 3 @eaDir/, 2 __MACOSX/, 1 .DS_Store, 1 .heic, 1 .png outside class folders, 1 .thumbnails/, "
        "1 Thumbs.db, 1 files without suffix, 1 hidden files, 1 notes/"
    )


def test_other_suffixes_of_jpeg_and_links_are_taken_in(tmp_path: Path) -> None:
    save_folder(tmp_path / "data", {"a": 2, "b": 2})
    save_folder(tmp_path / "elsewhere", {"c": 3, "more": 1})
    for suffix in (".jfif", ".jpe", ".JFIF"):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "data" / "a" / f"image{suffix}", "JPEG")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (tmp_path / "data" / "b" / "deep").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "data" / "b" / "linked.png").symlink_to(tmp_path / "data" / "a" / "00.png")
    images, labels, _ = everything(folder(tmp_path / "data"))
    assert np.bincount(labels).tolist() == [5, 4, 3]
    assert len(images) == 12


def test_links_in_a_loop_and_twice_to_one_folder_are_read_once(tmp_path: Path) -> None:
    save_folder(tmp_path / "data", {"train/a": 2, "train/b/deep": 2})
    for name, target in (
        ("a/up", "."),
        ("a/self", "a"),
        ("a/all", ".."),
        ("a/root", "../../.."),
        ("b/deeper", "b/deep"),
    ):
        (tmp_path / "data" / "train" / name).symlink_to(tmp_path / "data" / "train" / target)
    (tmp_path / "data" / "train" / "b" / "deep" / "b").symlink_to(tmp_path / "data" / "train" / "b")
    data = folder(tmp_path / "data")
    assert np.bincount(sources.listing(data).labels).tolist() == [2, 2]
    assert sources.listing(data).left_out.count("(a link to a folder that is read already)") == 6


def test_a_link_to_itself_is_left_out(tmp_path: Path) -> None:
    save_folder(tmp_path, {"a": 2, "c": 2})
    for link in ("b", "a/b"):
        (tmp_path / link).symlink_to("b")
    listing = sources.listing(folder(tmp_path))
    assert (listing.classes, listing.left_out) == (("a", "c"), "2 files without suffix")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    save_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b" / "00.png").rename(tmp_path / "b" / "\udcff.png")
    with pytest.raises(ValueError, match=r"names of files must be UTF-8, but 'b/\\udcff\.png' is not; rename it"):
        sources.check(folder(tmp_path))
