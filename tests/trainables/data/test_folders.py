"""Image folders, with splits of their own and without."""

from pathlib import Path

import numpy as np
import pytest

from tests.trainables.image_files import everything, save_folder
from trainables.data import sources
from trainables.data.types import Shape
from trainables.spec import DataSpec


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
    save_folder(tmp_path, {"train/b": 5})
    with pytest.raises(ValueError, match="every class must have a training folder, but test/a has none"):
        sources.check(data)
    (tmp_path / "train/a").mkdir()
    with pytest.raises(ValueError, match=r"class 0 \('a'\) has none"):
        sources.check(data)
