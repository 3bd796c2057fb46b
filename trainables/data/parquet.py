"""Parquet folders: files with a column of encoded images, or of structs with their `bytes`, and one of labels."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainables.data import blob_cache
from trainables.data.channels import Channels, Modes, decide
from trainables.data.content import Stored
from trainables.data.folder_tree import described
from trainables.data.images import Decoder, Encoded
from trainables.data.modes import count_modes, spread_sample
from trainables.data.parquet_files import File, labels_and_classes, left_out, open_files, whole
from trainables.data.row_groups import affordable
from trainables.data.splits import Listing
from trainables.data.stream import PIECE, Stream, ahead
from trainables.data.types import ROLES, Integers, Pixels, Shape
from trainables.data_spec import DataSpec

ROWS = 256  # read at a time; this limits the encoded images in memory


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


@dataclass(frozen=True, eq=False)
class _Images:
    """The images of some files by position."""

    files: list[File]
    labels: Integers  # (N,)
    classes: tuple[str, ...]

    @classmethod
    def of(cls, data: DataSpec) -> "_Images":
        files = open_files(data)
        return cls(files, *labels_and_classes(files))

    @property
    def starts(self) -> Integers:
        return np.cumsum([0, *(file.rows for file in self.files)])[:-1]

    @property
    def roles(self) -> Integers:
        return np.repeat([ROLES.index(file.role) for file in self.files], [file.rows for file in self.files])

    def encoded(self, positions: Integers) -> Iterator[tuple[Integers, list[Encoded]]]:
        """Yield indices into `positions` and the images there, one row group after the other."""
        order = np.argsort(positions)
        for file, start in zip(self.files, self.starts.tolist(), strict=True):
            slots = order[slice(*np.searchsorted(positions, (start, start + file.rows), sorter=order))]
            for encoded in _read(file, positions[slots] - start):
                yield slots[: len(encoded)], encoded
                slots = slots[len(encoded) :]

    def modes(self) -> Modes:
        sample = affordable(self.files, spread_sample(self.labels, self.roles))
        return count_modes((encoded for _, encoded in self.encoded(sample)), len(self.labels))

    def decoder(self, data: DataSpec, channels: Channels) -> Decoder:
        file = next(file for file in self.files if file.rows)
        (first,) = next(_read(file, np.zeros(1, np.int64)))
        return Decoder.of(first, channels, data)


def peek(data: DataSpec) -> Shape:
    """Read the size of the first image, the channels of some images, and the class names, or else the labels."""
    images = _Images.of(data)
    return images.decoder(data, decide(data.channels, images.modes)).form.shape(len(images.classes))


def list_samples(data: DataSpec) -> Listing:
    """Read all labels. The files come in the order train, val, test, and by name within each.

    A file belongs to the split that a word of its name says, in any case; without one it belongs to train. The classes
    are the JSON list under the schema's metadata key `classes`, or the names that Hugging Face's datasets keep there,
    or else the numbers 0 to the largest label.
    Raises ValueError for a folder, file, column or label that breaks a rule.
    """
    images = _Images.of(data)
    files, starts = images.files, images.starts
    channels = cache(partial(decide, data.channels, images.modes))

    def stream(positions: Integers) -> Stream:
        used = np.unique(np.searchsorted(starts, positions, side="right") - 1)
        rows = Rows(tuple(files[n] for n in used), starts[used])
        return Stream(rows, images.decoder(data, channels()), positions)

    return Listing(
        images.labels,
        images.roles.astype(np.int8),
        images.classes,
        lambda positions: _decode(images, images.decoder(data, channels()), positions),
        stream,
        described(left_out(files[0].path.parent)),
        lambda: channels().message,
    )


def stored(data: DataSpec) -> Stored:
    """Name the Parquet files in the order of `list_samples`, and read their labels. Raises ValueError as that does."""
    images = _Images.of(data)
    splits = " ".join(file.role for file in images.files) if images.roles.any() else ""
    names = [file.path.name for file in images.files]
    reading = splits + (", colour and grey" if images.modes().mixed else "")
    return Stored(images.files[0].path.parent, names, images.labels, reading)


def _decode(images: _Images, decoder: Decoder, positions: Integers) -> Pixels:
    """Decode the images at `positions` on all cores, one row group after the other."""
    out = decoder.form.empty(len(positions))

    def pieces() -> Iterator[tuple[Integers, list[Encoded]]]:
        for slots, encoded in images.encoded(positions):
            yield from ((slots[n : n + PIECE], encoded[n : n + PIECE]) for n in range(0, len(encoded), PIECE))

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
            blob_cache.Source(f"{file.path.resolve()} {file.image} {file.state}", file.state[0], partial(blobs, file))
            for file in files
        ]
    )


def _read(file: File, rows: Integers) -> Iterator[list[Encoded]]:
    """Yield the encoded images of `rows` (ascending) in lists. It reads only row groups that hold some of them."""
    name = file.path.name
    with whole(file.path), pq.ParquetFile(file.path) as parquet:
        edges = np.cumsum([0, *(parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups))])
        groups = np.unique(np.searchsorted(edges, rows, side="right") - 1)
        numbers = np.concatenate([np.arange(0), *(np.arange(edges[g], edges[g + 1]) for g in groups)])
        for batch in parquet.iter_batches(ROWS, row_groups=groups.tolist(), columns=[file.image]):
            here, numbers = numbers[: len(batch)], numbers[len(batch) :]
            wanted = rows[slice(*np.searchsorted(rows, (here[0], here[-1] + 1)))]
            images = batch[file.image].take(pa.array(np.searchsorted(here, wanted)))
            if pa.types.is_struct(images.type):
                images = pc.struct_field(images, "bytes")
            contents = (content or b"" for content in images.to_pylist())
            yield [Encoded(content, f"{name} row {row}") for content, row in zip(contents, wanted, strict=True)]
