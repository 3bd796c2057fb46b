"""Image folders: `train/<class>/*.png` with optional `val/` and `test/`, or only `<class>/*.png`."""

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from trainables.data import split_names
from trainables.data.channels import Channels, Modes, decide
from trainables.data.content import Stored
from trainables.data.folder_tree import LeftOut, described, images_below, subfolders
from trainables.data.images import Decoder, Encoded
from trainables.data.modes import count_modes, spread_sample
from trainables.data.splits import Listing
from trainables.data.stream import PIECE, Stream, in_memory
from trainables.data.types import ROLES, Integers, Role, Shape
from trainables.data_spec import DataSpec


@dataclass(frozen=True, eq=False)
class Files:
    """Image files by position. Millions of names share one buffer, so trials need not copy it."""

    root: Path
    names: pa.Array  # (N,) of strings, relative to the root

    def __call__(self, positions: Integers) -> list[Encoded]:
        """Return the files at these positions."""
        names = self.names.take(pa.array(positions)).to_pylist()
        return [Encoded(self.root / name, name) for name in names]


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of a folder by split, then class, then name."""

    files: Files
    labels: Integers  # (N,)
    roles: Integers  # (N,), indices into ROLES
    classes: tuple[str, ...]
    left_out: LeftOut

    def modes(self) -> Modes:
        sample = spread_sample(self.labels, self.roles)
        pieces = (self.files(sample[start : start + PIECE]) for start in range(0, len(sample), PIECE))
        return count_modes(pieces, len(self.labels))

    def channels(self, data: DataSpec) -> Channels:
        return decide(data.channels, self.modes)

    def decoder(self, data: DataSpec, channels: Channels) -> Decoder:
        return Decoder.of(self.files(np.zeros(1, np.int64))[0], channels, data)


def peek(data: DataSpec) -> Shape:
    """Count the class folders, read the size of the first image and the channels of some images."""
    images = _images(data)
    return images.decoder(data, images.channels(data)).form.shape(len(images.classes))


def list_samples(data: DataSpec) -> Listing:
    """List the image files by split, then class, then name. The classes are the training folders, sorted by name.

    Images may lie in folders below the class folder. Hidden and system files are left out, and so are files without
    the suffix of an image. Raises ValueError for a folder that breaks a rule.
    """
    images = _images(data)
    channels = cache(partial(images.channels, data))

    def stream(positions: Integers) -> Stream:
        return Stream(images.files, images.decoder(data, channels()), positions)

    return Listing(
        images.labels,
        images.roles.astype(np.int8),
        images.classes,
        lambda positions: in_memory(stream(positions)),
        stream,
        described(images.left_out),
        lambda: channels().message,
    )


def stored(data: DataSpec) -> Stored:
    """Name the image files and their labels in the order of `list_samples`. Raises ValueError as that function."""
    images = _images(data)
    reading = "colour and grey" if images.modes().mixed else ""
    return Stored(images.files.root, images.files.names.to_pylist(), images.labels, reading)


def _images(data: DataSpec) -> _Images:
    root, left_out = _root(data), LeftOut()
    folders = _split_folders(root, left_out)
    classes = _classes(folders["train"], root, left_out)
    numbers = {name: number for number, name in enumerate(classes)}
    names: list[str] = []
    labels: list[int] = []
    roles: list[int] = []
    for role, folder in folders.items():
        for name in classes if role == "train" else _class_folders(folder, left_out):
            if name not in numbers:
                raise ValueError(
                    f"every class must have a training folder, but {_name(folder / name, root)} has none; "
                    f"add {_name(folders['train'] / name, root)}/, or remove it"
                )
            before = left_out.copy()
            images = images_below(folder / name, root, left_out)
            if role == "train" and not images:
                raise ValueError(_without_images(_name(folder / name, root), left_out - before))
            names += images
            labels += [numbers[name]] * len(images)
            roles += [ROLES.index(role)] * len(images)
        if ROLES.index(role) not in roles[-1:]:
            raise ValueError(f"a split must hold images, but {_name(folder, root)}/ has none; add some, or remove it")
    try:
        files = Files(root, pa.array(names, pa.large_string()))
    except UnicodeEncodeError as error:
        raise ValueError(f"names of files must be UTF-8, but {error.object!a} is not; rename it") from error
    return _Images(files, np.array(labels, np.int64), np.array(roles, np.int64), classes, left_out)


def _root(data: DataSpec) -> Path:
    if not data.path:
        raise ValueError("data.path must name an image folder, but is empty; set it")
    root = Path(data.path).expanduser()
    if not root.is_dir():
        raise ValueError(f"data.path must be an image folder, but {data.path!r} is not a folder; correct it")
    return root


def _split_folders(root: Path, left_out: LeftOut) -> dict[Role, Path]:
    """Return the folder of each split, in the order of ROLES; the root itself for train if it has no splits."""
    beside = LeftOut()
    names = subfolders(root, beside)
    folders: dict[Role, Path] = {}
    for name in names:
        role = split_names.of_folder(name)
        if role in folders:
            raise ValueError(
                f"each split must be one folder, but {folders[role].name}/ and {name}/ of {str(root)!r} are both the "
                f"{role} split; merge them, or move one away"
            )
        if role:
            folders[role] = root / name
    if not folders:
        _refuse_unknown([name for name in names if split_names.looks_like_split(name)], root)
        return {"train": root}
    if "train" not in folders:
        raise ValueError(
            f"an image folder with {next(iter(folders.values())).name}/ must also have train/, but "
            f"{str(root)!r} has not; add it, or keep only class folders"
        )
    left_out.update(beside)
    for name in sorted({*names} - {folder.name for folder in folders.values()}):
        if images_below(root / name, root, LeftOut()):
            _refuse_unknown([name], root)
        left_out[f"{name}/"] += 1
    return {role: folders[role] for role in ROLES if role in folders}


def _refuse_unknown(names: list[str], root: Path) -> None:
    for name in names:
        raise ValueError(
            f"folders beside splits must be splits with usual names ({split_names.USUAL}), but {name}/ of "
            f"{str(root)!r} is not; rename it, move it away, or put it into train/ if it is a class"
        )


def _classes(train: Path, root: Path, left_out: LeftOut) -> tuple[str, ...]:
    classes = _class_folders(train, left_out)
    for name in classes:
        if split := next((below for below in subfolders(train / name) if split_names.of_folder(below)), None):
            raise ValueError(
                f"splits must lie above classes, but {_name(train / name, root)}/ holds {split}/; set data.path to "
                f"{str(train / name)!r} if that is the data set, or move the splits up"
            )
    return classes


def _class_folders(folder: Path, left_out: LeftOut) -> tuple[str, ...]:
    classes = tuple(subfolders(folder, left_out))
    if not classes:
        raise ValueError(f"{str(folder)!r} must hold a folder for each class, but has none; add <class>/*.png")
    return classes


def _without_images(name: str, left_out: LeftOut) -> str:
    others = f" that can be read, only {described(left_out)}" if left_out else ""
    return (
        f"each class folder must hold images, but {name}/ has none{others}; add images, or remove the folder if it is "
        "no class"
    )


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
