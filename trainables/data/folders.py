"""Image folders: `train/<class>/*.png` with optional `val/` (or `valid/`) and `test/`, or just `<class>/*.png`."""

from pathlib import Path

import numpy as np

from trainables.data.images import Encoded, fill, form_of
from trainables.data.splits import ROLES, Integers, Listing, Pixels, Role, Shape
from trainables.spec import DataSpec

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
FOLDERS: dict[Role, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def peek(data: DataSpec) -> Shape:
    """Count the class folders and read the shape from the first image."""
    root = _root(data)
    train = _role_folders(root)["train"][0]
    classes = _classes(train)
    first = next((path for name in classes for path in _images(train / name)), None)
    if first is None:
        raise ValueError(f"{data.path!r} must hold images, but has none; put them in train/<class>/ or <class>/")
    return form_of(_encoded(first, root), data.size).shape(len(classes))


def list_samples(data: DataSpec) -> Listing:
    """List the image files by split, then class, then name; the classes are the training folders, by name.

    Images may lie deeper than the class folder; other files and hidden ones are ignored.
    Raises ValueError for a missing folder and for a class that is not in train.
    """
    root = _root(data)
    folders = _role_folders(root)
    classes = _classes(folders["train"][0])
    paths: list[Path] = []
    labels: list[int] = []
    roles: list[int] = []
    for role in ROLES:
        for folder in folders[role]:
            for name in _classes(folder):
                if name not in classes:
                    raise ValueError(
                        f"every class must have a training folder, but {_name(folder / name, root)} has none; "
                        f"add train/{name}/, or remove it"
                    )
                found = _images(folder / name)
                paths += found
                labels += [classes.index(name)] * len(found)
                roles += [ROLES.index(role)] * len(found)

    def decode(positions: Integers) -> Pixels:
        out = form_of(_encoded(paths[0], root), data.size).empty(len(positions))
        chosen = [_encoded(paths[position], root) for position in positions]
        fill(out, np.arange(len(positions)), chosen, data.size)
        return out

    return Listing(np.array(labels, np.int64), np.array(roles, np.int8), classes, decode)


def _root(data: DataSpec) -> Path:
    if not data.path:
        raise ValueError("data.path must name an image folder, but is empty; set it")
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise ValueError(f"data.path must be an image folder, but {data.path!r} is not a folder; correct it")
    return root


def _role_folders(root: Path) -> dict[Role, list[Path]]:
    found = {role: [root / name for name in names if (root / name).is_dir()] for role, names in FOLDERS.items()}
    if found["train"]:
        return found
    if found["val"] or found["test"]:
        raise ValueError(
            f"an image folder with {(found['val'] + found['test'])[0].name}/ must also have train/, but {str(root)!r} "
            "has not; add it, or keep only class folders"
        )
    return {"train": [root], "val": [], "test": []}


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not classes:
        raise ValueError(f"{str(folder)!r} must hold a folder for each class, but has none; add <class>/*.png")
    return classes


def _images(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _encoded(path: Path, root: Path) -> Encoded:
    return Encoded(path, _name(path, root))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
