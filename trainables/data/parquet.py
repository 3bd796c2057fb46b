"""Parquet folders: files with the columns `image` (an encoded image, or a struct with its `bytes`) and `label`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.data import blob_cache
from trainables.data.content import Stored
from trainables.data.images import Decoder, Encoded
from trainables.data.splits import Listing
from trainables.data.stream import PIECE, Stream, ahead
from trainables.data.types import ROLES, Integers, Pixels, Role, Shape
from trainables.spec import DataSpec
from trainables.storage.parquet_footer import check_footer
from trainables.storage.strict_json import from_json

ROWS = 256  # read at a time; this limits the encoded images in memory


class File(NamedTuple):
    """One Parquet file of a data set."""

    path: Path
    role: Role
    rows: int
    classes: tuple[str, ...]  # names from the schema; empty where it has none
    state: tuple[int, int]  # size in bytes, time of last change in ns


@dataclass(frozen=True, eq=False)
class Rows:
    """The images of some files by position, in any order."""

    files: tuple[File, ...]
    starts: Integers  # (files,), position of each file's first row

    def __call__(self, positions: Integers) -> list[Encoded]:
        """Read the images at these positions from the files' caches."""
        caches = _caches(self.files)
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        return [
            Encoded(caches[number][row], f"{self.files[number].path.name} row {row}")
            for number, row in zip(numbers.tolist(), (positions - self.starts[numbers]).tolist(), strict=True)
        ]


def peek(data: DataSpec) -> Shape:
    """Read the shape from the first image and from the class names. Without names it reads the labels."""
    files = _files(data)
    return _decoder(files, data).form.shape(len(_labels_and_classes(files)[1]))


def list_samples(data: DataSpec) -> Listing:
    """Read all labels. The files come in the order train, val, test, and by name within each.

    A file whose name starts with `test` or `val` belongs to that split. All other files belong to train. The classes
    are the JSON list under the schema's metadata key `classes`, or else the numbers 0 to the largest label.
    Raises ValueError for a folder, file, column or label that breaks a rule.
    """
    files = _files(data)
    labels, classes = _labels_and_classes(files)
    roles = np.repeat([ROLES.index(file.role) for file in files], [file.rows for file in files]).astype(np.int8)
    starts = np.cumsum([0, *(file.rows for file in files)])[:-1]

    def stream(positions: Integers) -> Stream:
        used = np.unique(np.searchsorted(starts, positions, side="right") - 1)
        return Stream(Rows(tuple(files[n] for n in used), starts[used]), _decoder(files, data), positions)

    return Listing(labels, roles, classes, partial(_decode, files, starts, data), stream)


def stored(data: DataSpec) -> Stored:
    """Name the Parquet files in the order of `list_samples`, and read their labels. Raises ValueError as that does."""
    files = _files(data)
    return Stored(files[0].path.parent, [file.path.name for file in files], _labels_and_classes(files)[0])


def _files(data: DataSpec) -> list[File]:
    if not data.path:
        raise ValueError("data.path must name a folder of Parquet files, but is empty; set it")
    folder = Path(data.path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"data.path must be a folder of Parquet files, but {data.path!r} is not a folder; correct it")
    files = [_open(path) for path in sorted(folder.glob("*.parquet"))]
    if not any(file.role == "train" and file.rows for file in files):
        raise ValueError(
            f"{data.path!r} must hold Parquet files with training samples, but none of its {len(files)} is one; "
            "add train-*.parquet (names that start with test or val are the other splits)"
        )
    for file in files:
        if file.classes != files[0].classes:
            raise ValueError(
                f"all files must name the same classes, but {file.path.name} and {files[0].path.name} differ; "
                "write the same list under the metadata key `classes` of every schema"
            )
    return sorted(files, key=lambda file: ROLES.index(file.role))


def _open(path: Path) -> File:
    with _whole(path):
        with path.open("rb") as file:
            check_footer(file)  # first, as some footers crash Arrow
        metadata = pq.read_metadata(path)
    status, rows = path.stat(), metadata.num_rows
    if rows > status.st_size:  # each row needs some bytes for its image
        raise ValueError(f"{path.name} must hold an image in each row, but claims {rows:,} in {status.st_size:,} bytes")
    schema = metadata.schema.to_arrow_schema()
    _check_columns(path.name, schema)
    role: Role = "test" if path.name.startswith("test") else "val" if path.name.startswith("val") else "train"
    return File(path, role, rows, _named_classes(path.name, schema), (status.st_size, status.st_mtime_ns))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path.name} must be a Parquet file, but cannot be read ({error}); repair it") from error


def _check_columns(name: str, schema: pa.Schema) -> None:
    for column in ("image", "label"):
        if column not in schema.names:
            raise ValueError(
                f"{name} must have the columns image and label, but has {', '.join(schema.names)}; rename its columns"
            )
    image, label = schema.field("image").type, schema.field("label").type
    if pa.types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not any(test(image) for test in (pa.types.is_binary, pa.types.is_large_binary)):
        raise ValueError(
            f"column image must be binary (an encoded image, or a struct with its `bytes`), but in {name} it is "
            f"{image}; write the encoded PNG, JPEG or WebP"
        )
    if not pa.types.is_integer(label):
        raise ValueError(
            f"column label must hold integers, but in {name} it is {label}; number the classes from 0, and name them "
            "in a JSON list under the schema's metadata key `classes`"
        )


def _named_classes(name: str, schema: pa.Schema) -> tuple[str, ...]:
    text = (schema.metadata or {}).get(b"classes", b"[]")
    try:
        classes = from_json(text.decode())
    except ValueError:
        classes = None
    if not isinstance(classes, list) or not all(isinstance(entry, str) for entry in classes):
        raise ValueError(f"metadata key `classes` must be a JSON list of names, but {name} has {text!r}; rewrite it")
    return tuple(classes)


def _labels_and_classes(files: list[File]) -> tuple[Integers, tuple[str, ...]]:
    named = files[0].classes
    limit = len(named) or sum(file.rows for file in files)  # without names, labels stay below the number of samples
    labels = np.concatenate([_labels(file, limit) for file in files])
    return labels, named or tuple(str(number) for number in range(labels.max() + 1))


def _labels(file: File, limit: int) -> Integers:
    with _whole(file.path):
        column = pq.read_table(file.path, columns=["label"])["label"]
    if len(column) != file.rows:
        raise ValueError(
            f"{file.path.name} must hold the {file.rows} rows that it counts, but has {len(column)}; repair it"
        )
    legal = pc.fill_null(pc.and_(pc.greater_equal(column, 0), pc.less(column, limit)), False)
    row = pc.index(legal, False).as_py()
    if row >= 0:
        raise ValueError(
            f"label must be in 0..{limit - 1}, but {file.path.name} row {row} has {column[row].as_py()}; "
            "correct it, or the list of classes in the schema"
        )
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def _decoder(files: list[File], data: DataSpec) -> Decoder:
    file = next(file for file in files if file.rows)
    (first,) = next(_read(file, np.zeros(1, np.int64)))
    return Decoder.of(first, data)


def _decode(files: list[File], starts: Integers, data: DataSpec, positions: Integers) -> Pixels:
    """Decode the images at `positions` on all cores, one row group after the other."""
    decoder = _decoder(files, data)
    out = decoder.form.empty(len(positions))
    order = np.argsort(positions)

    def pieces() -> Iterator[tuple[Integers, list[Encoded]]]:
        for file, start in zip(files, starts.tolist(), strict=True):
            slots = order[slice(*np.searchsorted(positions, (start, start + file.rows), sorter=order))]
            for encoded in _read(file, positions[slots] - start):
                here, slots = slots[: len(encoded)], slots[len(encoded) :]
                yield from ((here[n : n + PIECE], encoded[n : n + PIECE]) for n in range(0, len(encoded), PIECE))

    def fill(piece: tuple[Integers, list[Encoded]]) -> None:
        slots, encoded = piece
        out[slots] = decoder.decode(encoded)

    for _ in ahead(fill, pieces(), os.cpu_count() or 1):
        pass
    return out


@lru_cache(maxsize=8)
def _caches(files: tuple[File, ...]) -> list[blob_cache.BlobCache]:
    def blobs(file: File) -> Iterator[bytes]:
        for encoded in _read(file, np.arange(file.rows)):
            for content, _ in encoded:
                assert isinstance(content, bytes)
                yield content

    return blob_cache.open_all(
        [
            blob_cache.Source(f"{file.path.resolve()} {file.state}", file.state[0], partial(blobs, file))
            for file in files
        ]
    )


def _read(file: File, rows: Integers) -> Iterator[list[Encoded]]:
    """Yield the encoded images of `rows` (ascending) in lists. It reads only row groups that hold some of them."""
    name = file.path.name
    with _whole(file.path), pq.ParquetFile(file.path) as parquet:
        edges = np.cumsum([0, *(parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups))])
        groups = np.unique(np.searchsorted(edges, rows, side="right") - 1)
        numbers = np.concatenate([np.arange(0), *(np.arange(edges[g], edges[g + 1]) for g in groups)])
        for batch in parquet.iter_batches(ROWS, row_groups=groups.tolist(), columns=["image"]):
            here, numbers = numbers[: len(batch)], numbers[len(batch) :]
            wanted = rows[slice(*np.searchsorted(rows, (here[0], here[-1] + 1)))]
            images = batch["image"].take(pa.array(np.searchsorted(here, wanted)))
            if pa.types.is_struct(images.type):
                images = pc.struct_field(images, "bytes")
            contents = (content or b"" for content in images.to_pylist())
            yield [Encoded(content, f"{name} row {row}") for content, row in zip(contents, wanted, strict=True)]
