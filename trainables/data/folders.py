"""Image folders: `train/<class>/*.png` with optional `val/` (or `valid/`) and `test/`, or only `<class>/*.png`."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainables.data.content import Stored
from trainables.data.images import Decoder, Encoded
from trainables.data.splits import Listing
from trainables.data.stream import Stream, in_memory
from trainables.data.types import ROLES, Integers, Role, Shape
from trainables.spec import DataSpec

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
FOLDERS: dict[Role, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class Files:
    """Image files by position. Millions of names share one buffer, so trials need not copy it."""

    root: Path
    names: pa.Array  # (N,) of strings, relative to the root

    def __call__(self, positions: Integers) -> list[Encoded]:
        """Return the files at these positions."""
        names = self.names.take(pa.array(positions)).to_pylist()
        return [Encoded(self.root / name, name) for name in names]


def peek(data: DataSpec) -> Shape:
    """Count the class folders and read the shape from the first image."""
    root = _root(data)
    train = _role_folders(root)["train"][0]
    classes = _classes(train)
    first = next((name for folder in classes for name in _images(train / folder, root)), None)
    if first is None:
        raise ValueError(f"{data.path!r} must hold images, but has none; put them in train/<class>/ or <class>/")
    return Decoder.of(Encoded(root / first, first), data).form.shape(len(classes))


def list_samples(data: DataSpec) -> Listing:
    """List the image files by split, then class, then name. The classes are the training folders, sorted by name.

    Images may lie in folders below the class folder. Other files and hidden files are ignored.
    Raises ValueError for a missing folder and for a class that is not in train.
    """
    root = _root(data)
    classes, names, labels, roles = _listed(root)
    files = Files(root, pa.array(names, pa.large_string()))

    def stream(positions: Integers) -> Stream:
        return Stream(files, Decoder.of(files(np.zeros(1, np.int64))[0], data), positions)

    return Listing(
        np.array(labels, np.int64),
        np.array(roles, np.int8),
        classes,
        lambda positions: in_memory(stream(positions)),
        stream,
    )


def stored(data: DataSpec) -> Stored:
    """Name the image files and their labels in the order of `list_samples`. Raises ValueError as that function."""
    root = _root(data)
    _, names, labels, _ = _listed(root)
    return Stored(root, names, np.array(labels, np.int64))


def _listed(root: Path) -> tuple[tuple[str, ...], list[str], list[int], list[int]]:
    """Return the classes, and the name, the label and the index into ROLES of each image."""
    folders = _role_folders(root)
    classes = _classes(folders["train"][0])
    numbers = {name: number for number, name in enumerate(classes)}
    names: list[str] = []
    labels: list[int] = []
    roles: list[int] = []
    for role in ROLES:
        for folder in folders[role]:
            for name in _classes(folder):
                if name not in numbers:
                    raise ValueError(
                        f"every class must have a training folder, but {_name(folder / name, root)} has none; "
                        f"add train/{name}/, or remove it"
                    )
                images = _images(folder / name, root)
                names += images
                labels += [numbers[name]] * len(images)
                roles += [ROLES.index(role)] * len(images)
    return classes, names, labels, roles


def _root(data: DataSpec) -> Path:
    if not data.path:
        raise ValueError("data.path must name an image folder, but is empty; set it")
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise ValueError(f"data.path must be an image folder, but {data.path!r} is not a folder; correct it")
    return root


def _role_folders(root: Path) -> dict[Role, list[Path]]:
    folders = {role: [root / name for name in names if (root / name).is_dir()] for role, names in FOLDERS.items()}
    if folders["train"]:
        return folders
    if folders["val"] or folders["test"]:
        raise ValueError(
            f"an image folder with {(folders['val'] + folders['test'])[0].name}/ must also have train/, but "
            f"{str(root)!r} has not; add it, or keep only class folders"
        )
    return {"train": [root], "val": [], "test": []}


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not classes:
        raise ValueError(f"{str(folder)!r} must hold a folder for each class, but has none; add <class>/*.png")
    return classes


def _images(folder: Path, root: Path) -> list[str]:
    """Return the names of the images below a folder, relative to the root, sorted by the parts of their paths."""
    paths: list[list[str]] = []
    for parent, folders, files in os.walk(folder):  # several times as fast as Path.rglob
        folders[:] = (name for name in folders if not name.startswith("."))
        above = [*folder.relative_to(root).parts, *parent[len(str(folder)) + 1 :].split("/")]
        paths += ([*filter(None, above), name] for name in files if _is_image(name))
    return ["/".join(parts) for parts in sorted(paths)]


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
