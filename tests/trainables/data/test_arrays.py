"""Data sets of other libraries, against those libraries and in their own file formats."""

import pickle
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.trainables.image_files import RNG, everything, grey
from trainables.data import sources
from trainables.data.types import Shape
from trainables.data_spec import DataSpec


def test_digits_are_those_of_scikit_learn() -> None:
    images, labels, ids = everything(DataSpec())
    assert np.array_equal(images[:, 0], np.floor(load_digits().images * 255 / 16 + 0.5))
    assert images.max() == 255
    assert np.array_equal(labels, load_digits().target)
    assert np.array_equal(ids, np.arange(1797))
    assert sources.peek(DataSpec()) == Shape(1, 8, 8, 10)


def write_idx(path: Path, array: Any) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_fashion_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels, labels = grey(80, 28), np.arange(80) % 10
    for prefix, part in (("train", slice(0, 60)), ("t10k", slice(60, 80))):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels[part])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels[part])
    data = DataSpec(name="fashion_mnist", path=str(tmp_path))
    images, found, _ = everything(data)
    assert np.array_equal(images[:, 0], pixels)
    assert np.array_equal(found, labels)
    assert sorted(sources.load_test(data).ids) == list(range(60, 80))
    assert sources.load(data).classes[9] == "Ankle boot"
    assert sources.peek(data) == Shape(1, 28, 28, 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The files are tiny ones in the original format, and torchvision checks their (changed) sums as ever."""
    from torchvision import datasets

    source = getattr(datasets, name.upper())
    classes = sources.peek(DataSpec(name=name)).classes
    folder = tmp_path / source.base_folder
    folder.mkdir()
    pixels = RNG.integers(0, 256, (6 * classes, 3, 32, 32), np.uint8)
    labels = [i % classes for i in range(6 * classes)]

    def save(file: str, content: dict[str, Any]) -> list[str]:
        (folder / file).write_bytes(pickle.dumps(content))
        return [file, md5((folder / file).read_bytes()).hexdigest()]

    key = "labels" if name == "cifar10" else "fine_labels"
    for part, chosen in (("train", slice(0, 5 * classes)), ("test", slice(5 * classes, None))):
        rows = pixels[chosen].reshape(-1, 3 * 32 * 32)
        monkeypatch.setattr(source, f"{part}_list", [save(part, {"data": rows, key: labels[chosen]})])
    file, checksum = save("meta", {source.meta["key"]: [f"class {i}" for i in range(classes)]})
    monkeypatch.setattr(source, "meta", {**source.meta, "filename": file, "md5": checksum})
    images, found, _ = everything(DataSpec(name=name, path=str(tmp_path)))
    assert np.array_equal(images, pixels)
    assert found.tolist() == labels


def test_a_failed_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    nowhere = (tmp_path / "nowhere").as_uri()
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{nowhere}/"])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{nowhere}/cifar.tar.gz")
    for name in ("fashion_mnist", "cifar10"):
        with pytest.raises(ValueError, match=rf"(?s){name} must be in .* or downloadable, but is not .*; connect"):
            sources.load(DataSpec(name=name, path=str(tmp_path)))
