"""Data sets that other libraries hold as arrays: scikit-learn's digits, and torchvision's small sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.data.content import Stored
from trainables.data.images import resize
from trainables.data.memory import must_stream
from trainables.data.splits import Listing, refuse_small_limits
from trainables.data.types import ROLES, Integers, Pixels, Shape
from trainables.spec import DataSpec

DIGITS = Shape(1, 8, 8, 10)
TORCHVISION = {
    "cifar10": ("CIFAR10", Shape(3, 32, 32, 10)),
    "cifar100": ("CIFAR100", Shape(3, 32, 32, 100)),
    "fashion_mnist": ("FashionMNIST", Shape(1, 28, 28, 10)),
}
FASHION_MNIST = tuple(
    f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
)
DOWNLOADS = "~/.cache/howcompact"


class InMemory(Protocol):
    """The part of a torchvision data set that is read here."""

    data: Any  # (N, H, W) or (N, H, W, C), uint8
    targets: Sequence[int] | Any  # (N,)
    classes: Sequence[str]


def check_digits(data: DataSpec) -> None:
    """Raise ValueError for settings that the digits cannot serve."""
    if data.path:
        raise ValueError(
            f"data.path must be empty for digits, which come with scikit-learn, but got {data.path!r}; drop it"
        )
    _refuse_streaming(data)
    refuse_small_limits(data, DIGITS.classes)


def peek_digits(data: DataSpec) -> Shape:
    """State the shape of the digits."""
    return _resized(DIGITS, data.size)


def list_digits(data: DataSpec) -> Listing:
    """List the 1797 digits of scikit-learn, 8x8, grey: the values 0..16 become 255 v / 16, rounded half up."""
    check_digits(data)
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    return _in_memory(images, labels, np.zeros(len(labels), np.int8), tuple("0123456789"), data)


def check_torchvision(data: DataSpec) -> None:
    """Raise ValueError for settings that a torchvision set cannot serve; nothing is downloaded."""
    folder = _download_folder(data)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"data.path must be a folder for downloads, but {data.path!r} is a file; correct it")
    _refuse_streaming(data)
    refuse_small_limits(data, TORCHVISION[data.name][1].classes)


def peek_torchvision(data: DataSpec) -> Shape:
    """State the shape of a torchvision set; nothing is downloaded."""
    return _resized(TORCHVISION[data.name][1], data.size)


def list_torchvision(data: DataSpec) -> Listing:
    """Read a torchvision set, train then test, downloading it to data.path where it is not there yet.

    Raises ValueError where it is neither there nor can be downloaded.
    """
    check_torchvision(data)
    from torchvision import datasets

    folder, name = _download_folder(data), TORCHVISION[data.name][0]
    try:
        train, test = (getattr(datasets, name)(folder, train=train, download=True) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{data.name} must be in {str(folder)!r} or downloadable, but is not ({type(error).__name__}: {error}); "
            f"connect to the network, or set data.path to where torchvision.datasets.{name} has downloaded it before"
        ) from error
    return from_torchvision(train, test, data)


def stored_torchvision(data: DataSpec) -> Stored | None:
    """Name the files of Fashion-MNIST, downloaded if need be; None for CIFAR, whose files torchvision checks by MD5.

    Of Fashion-MNIST torchvision checks the archives that it downloads, but not the files that it reads.
    """
    if data.name != "fashion_mnist":
        return None
    folder = _download_folder(data) / "FashionMNIST" / "raw"
    if not all((folder / name).is_file() for name in FASHION_MNIST):
        list_torchvision(data)
    return Stored(folder, FASHION_MNIST, np.zeros(0, np.int64))


def from_torchvision(train: InMemory, test: InMemory, data: DataSpec) -> Listing:
    """Join the two parts of a torchvision set that holds its images in memory."""
    parts = [np.asarray(part.data) for part in (train, test)]
    images = np.concatenate([part[..., None] if part.ndim == 3 else part for part in parts]).transpose(0, 3, 1, 2)
    labels = np.concatenate([np.asarray(part.targets, np.int64) for part in (train, test)])
    roles = np.repeat([ROLES.index("train"), ROLES.index("test")], [len(part) for part in parts]).astype(np.int8)
    return _in_memory(images, labels, roles, tuple(train.classes), data)


def _in_memory(images: Pixels, labels: Integers, roles: Any, classes: tuple[str, ...], data: DataSpec) -> Listing:
    def decode(positions: Integers) -> Pixels:
        chosen = np.ascontiguousarray(images[positions])
        return chosen if data.size is None else resize(chosen, data.size, data.fit)

    return Listing(labels, roles, classes, decode)


def _refuse_streaming(data: DataSpec) -> None:
    if must_stream(data):
        raise ValueError(
            f"{data.name} must be held decoded, as it comes, but got data.loading {data.loading!r} and data.augment "
            f"{data.augment!r}; leave out what streams, or write the images as files"
        )


def _resized(shape: Shape, size: int | None) -> Shape:
    return shape if size is None else shape._replace(height=size, width=size)


def _download_folder(data: DataSpec) -> Path:
    return Path(data.path or DOWNLOADS).expanduser()
