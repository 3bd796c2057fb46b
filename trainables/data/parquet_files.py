"""The Parquet files of a data set: their splits, columns, labels and class names, checked before an image is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.data import split_names
from trainables.data.folder_tree import LeftOut, is_system, kind_of, subfolders
from trainables.data.types import ROLES, Integers, Role
from trainables.data_spec import DataSpec
from trainables.storage.parquet_footer import check_footer
from trainables.storage.strict_json import from_json

SUFFIX = ".parquet"


class File(NamedTuple):
    """One Parquet file of a data set."""

    path: Path
    role: Role
    rows: int
    image: str  # names of its columns
    label: str
    classes: tuple[str, ...]  # names from the schema; empty where it has none
    state: tuple[int, int]  # size in bytes, time of last change in ns


def open_files(data: DataSpec) -> list[File]:
    """Check the files of data.path: train, then val, then test, and by name within each.

    Raises ValueError for a folder, a file or a column that breaks a rule.
    """
    if not data.path:
        raise ValueError("data.path must name a folder of Parquet files, but is empty; set it")
    folder = Path(data.path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"data.path must be a folder of Parquet files, but {data.path!r} is not a folder; correct it")
    files = [_open(path, data.image, data.label) for path in sorted(folder.iterdir()) if _is_parquet(path)]
    if not any(file.role == "train" and file.rows for file in files):
        raise ValueError(
            f"{data.path!r} must hold Parquet files with training samples, but none of its {len(files)} is one; "
            f"add train-*.parquet{_below(folder)}"
        )
    for name in subfolders(folder):
        if split_names.of_folder(name) and any(map(_is_parquet, (folder / name).iterdir())):
            raise ValueError(
                f"Parquet files must lie in {data.path!r} itself, but {name}/ holds some; move them up, with their "
                f"split in their names, such as {name}-0.parquet"
            )
    for file in files:
        if file.classes != files[0].classes:
            raise ValueError(
                f"all files must name the same classes, but {file.path.name} and {files[0].path.name} differ; "
                "write the same list under the metadata key `classes` of every schema"
            )
    return sorted(files, key=lambda file: ROLES.index(file.role))


def _open(path: Path, image: str, label: str) -> File:
    with whole(path):
        with path.open("rb") as file:
            check_footer(file)  # first, as some footers crash Arrow
        metadata = pq.read_metadata(path)
    status, rows = path.stat(), metadata.num_rows
    if rows > status.st_size:  # each row needs some bytes for its image
        raise ValueError(f"{path.name} must hold an image in each row, but claims {rows:,} in {status.st_size:,} bytes")
    schema = metadata.schema.to_arrow_schema()
    _check_columns(path.name, schema, image, label)
    role = split_names.of_file(path.name[: -len(SUFFIX)]) or "train"
    return File(
        path, role, rows, image, label, _named_classes(path.name, schema, label), (status.st_size, status.st_mtime_ns)
    )


def left_out(folder: Path) -> LeftOut:
    """Count the entries of a folder that are no Parquet files of the data set, by kind."""
    return LeftOut(kind_of(path.name, path.is_dir()) for path in folder.iterdir() if not _is_parquet(path))


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIX) and not is_system(path.name)


def _below(folder: Path) -> str:
    """Name the first folder in `folder` that holds Parquet files, as a hint for the user."""
    for name in subfolders(folder):
        if any(map(_is_parquet, (folder / name).iterdir())):
            return f", or set data.path to {str(folder / name)!r}, which holds Parquet files"
    return ""


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged file into a ValueError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path.name} must be a Parquet file, but cannot be read ({error}); repair it") from error


def _check_columns(name: str, schema: pa.Schema, images: str, labels: str) -> None:
    for column in (images, labels):
        if column not in schema.names:
            raise ValueError(
                f"{name} must have the columns {images} and {labels}, but has {', '.join(schema.names)}; name its "
                "columns by data.image and data.label"
            )
    image, label = schema.field(images).type, schema.field(labels).type
    if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not any(test(image) for test in (pa.types.is_binary, pa.types.is_large_binary)):
        raise ValueError(
            f"column {images} must be binary (an encoded image, or a struct with its `bytes`), but in {name} it is "
            f"{image}; write the encoded PNG, JPEG or WebP"
        )
    if not pa.types.is_integer(label):
        raise ValueError(
            f"column {labels} must hold integers, but in {name} it is {label}; number the classes from 0, and name "
            "them in a JSON list under the schema's metadata key `classes`"
        )


def _named_classes(name: str, schema: pa.Schema, label: str) -> tuple[str, ...]:
    metadata = schema.metadata or {}
    text = metadata.get(b"classes")
    if text is None:
        return _huggingface_names(metadata.get(b"huggingface", b"{}"), label)
    try:
        classes = from_json(text.decode())
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(entry, str) for entry in classes):
        raise ValueError(f"metadata key `classes` must be a JSON list of names, but {name} has {text!r}; rewrite it")
    return tuple(classes)


def _huggingface_names(text: bytes, label: str) -> tuple[str, ...]:
    """Return the names of the ClassLabel column in the metadata of Hugging Face's datasets; empty where it has none."""
    try:
        found = from_json(text.decode())
    except ValueError:
        return ()
    for key in ("info", "features", label, "names"):
        found = found.get(key) if isinstance(found, dict) else None
    named = isinstance(found, list) and all(isinstance(name, str) for name in found)
    return tuple(found) if named and isinstance(found, list) else ()


def labels_and_classes(files: list[File]) -> tuple[Integers, tuple[str, ...]]:
    """Read the labels (N,) of the files in their order, and the names of the classes.

    Raises ValueError for a label that is no number of a class.
    """
    named = files[0].classes
    limit = len(named) or sum(file.rows for file in files)  # without names, labels stay below the number of samples
    labels = np.concatenate([_labels(file, limit) for file in files])
    return labels, named or tuple(str(number) for number in range(labels.max() + 1))


def _labels(file: File, limit: int) -> Integers:
    with whole(file.path):
        column = pq.read_table(file.path, columns=[file.label])[file.label]
    if len(column) != file.rows:
        raise ValueError(
            f"{file.path.name} must hold the {file.rows} rows that it counts, but has {len(column)}; repair it"
        )
    legal = pc.fill_null(pc.and_(pc.greater_equal(column, 0), pc.less(column, limit)), False)
    row = pc.index(legal, False).as_py()
    if row >= 0:
        raise ValueError(
            f"{file.label} must be in 0..{limit - 1}, but {file.path.name} row {row} has {column[row].as_py()}; "
            "correct it, or the list of classes in the schema"
        )
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)
