"""Data sets that other libraries give as arrays: the digits of scikit-learn and the small sets of torchvision."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.data.channels import Channels, Modes, decide
from trainables.data.content import DOWNLOADS, Stored, root_of
from trainables.data.images import convert, resize
from trainables.data.memory import must_stream
from trainables.data.splits import Listing, refuse_small_limits
from trainables.data.types import ROLES, Integers, Pixels, Shape
from trainables.data_spec import DataSpec

DIGITS = Shape(1, 8, 8, 10)
TORCHVISION = {
    "cifar10": ("CIFAR10", Shape(3, 32, 32, 10)),
    "cifar100": ("CIFAR100", Shape(3, 32, 32, 100)),
    "fashion_mnist": ("FashionMNIST", Shape(1, 28, 28, 10)),
}
ABOUT = {
    "CIFAR10": "50,000 + 10,000 photographs of animals and vehicles (Krizhevsky 2009), 170 MB",
    "CIFAR100": "50,000 + 10,000 photographs of animals, plants, people and things (Krizhevsky 2009), 169 MB",
    "FashionMNIST": "60,000 + 10,000 pictures of clothes, shoes and bags (Zalando, arXiv 1708.07747), 31 MB",
}
FASHION_MNIST = tuple(
    f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
)


class InMemory(Protocol):
    """The attributes of a torchvision data set that this file reads."""

    data: Any  # (N, H, W) or (N, H, W, C), uint8
    targets: Sequence[int] | Any  # (N,)
    classes: Sequence[str]


def check_digits(data: DataSpec) -> None:
    """Raise ValueError for settings that the digits do not support."""
    if data.path:
        raise ValueError(
            f"data.path must be empty for digits, which come with scikit-learn, but got {data.path!r}; drop it"
        )
    _refuse_streaming(data)
    refuse_small_limits(data, DIGITS.classes)


def peek_digits(data: DataSpec) -> Shape:
    """Return the shape of the digits."""
    return _as_read(DIGITS, data)


def list_digits(data: DataSpec) -> Listing:
    """List the 1797 grey 8x8 digits of scikit-learn. A value v in 0..16 becomes 255 v / 16, rounded half up."""
    check_digits(data)
    table = np.loadtxt(_digits_file(), dtype=np.int64, delimiter=",")  # a row is an image and its label
    images = ((table[:, :-1] * 255 + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1]
    return _in_memory(images, labels, np.zeros(len(labels), np.int8), tuple("0123456789"), data)


def _digits_file() -> Path:
    """Find the file that scikit-learn's `load_digits` reads, without the import of scikit-learn, which takes 3 s."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def check_torchvision(data: DataSpec) -> None:
    """Raise ValueError for settings that a torchvision set does not support. It downloads nothing."""
    folder = _download_folder(data)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"data.path must be a folder for downloads, but {data.path!r} is a file; correct it")
    _refuse_streaming(data)
    refuse_small_limits(data, TORCHVISION[data.name][1].classes)


def peek_torchvision(data: DataSpec) -> Shape:
    """Return the shape of a torchvision set. It downloads nothing."""
    return _as_read(TORCHVISION[data.name][1], data)


def list_torchvision(data: DataSpec) -> Listing:
    """Read a torchvision set, train then test. It downloads the set to data.path if that does not hold it yet.

    Raises ValueError where the set is not there and cannot be downloaded.
    """
    check_torchvision(data)
    from torchvision import datasets

    folder, name = _download_folder(data), TORCHVISION[data.name][0]
    try:
        train, test = (getattr(datasets, name)(folder, train=train, download=True) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{data.name} must be in {str(folder)!r} or downloadable, but is not ({type(error).__name__}: {error}); "
            f"connect to the network, or set data.path to a folder where torchvision.datasets.{name} downloaded it"
        ) from error
    return from_torchvision(train, test, data)


def stored_torchvision(data: DataSpec) -> Stored | None:
    """Name the files of Fashion-MNIST, downloaded if needed. None for CIFAR, whose files torchvision checks by MD5.

    For Fashion-MNIST torchvision checks the archives that it downloads, but not the files that it reads.
    """
    if data.name != "fashion_mnist":
        return None
    folder = root_of(data)
    if not all((folder / name).is_file() for name in FASHION_MNIST):
        list_torchvision(data)
    return Stored(folder, FASHION_MNIST, np.zeros(0, np.int64))


def from_torchvision(train: InMemory, test: InMemory, data: DataSpec) -> Listing:
    """Join the train part and the test part of a torchvision set."""
    parts = [np.asarray(part.data) for part in (train, test)]
    images = np.concatenate([part[..., None] if part.ndim == 3 else part for part in parts]).transpose(0, 3, 1, 2)
    labels = np.concatenate([np.asarray(part.targets, np.int64) for part in (train, test)])
    roles = np.repeat([ROLES.index("train"), ROLES.index("test")], [len(part) for part in parts]).astype(np.int8)
    return _in_memory(images, labels, roles, tuple(train.classes), data)


def _in_memory(images: Pixels, labels: Integers, roles: Any, classes: tuple[str, ...], data: DataSpec) -> Listing:
    channels = _channels(images.shape[1], len(images), data)

    def decode(positions: Integers) -> Pixels:
        pixels = convert(np.ascontiguousarray(images[positions]), channels.number)
        return pixels if data.size is None else resize(pixels, data.size, data.fit)

    return Listing(labels, roles, classes, decode, colour=lambda: channels.message)


def _refuse_streaming(data: DataSpec) -> None:
    if must_stream(data):
        raise ValueError(
            f"{data.name} must stay in memory and cannot stream, but got data.loading {data.loading!r} and "
            f"data.augment {data.augment!r}; choose settings that do not stream, or write the images as files"
        )


def _as_read(shape: Shape, data: DataSpec) -> Shape:
    height, width = (data.size or side for side in (shape.height, shape.width))
    return Shape(_channels(shape.channels, 1, data).number, height, width, shape.classes)


def _channels(channels: int, images: int, data: DataSpec) -> Channels:
    return decide(data.channels, lambda: Modes(images * (channels == 3), images * (channels == 1), images))


def _download_folder(data: DataSpec) -> Path:
    return Path(data.path or DOWNLOADS).expanduser()
