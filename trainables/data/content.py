"""The identity of a data set: a checksum of its files. A file without changes since an earlier run is not read again.

The folder of the files and the way of loading them do not count.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from trainables.counts import quantity
from trainables.data.types import Integers
from trainables.data_spec import DataSpec
from trainables.storage.columns import read_columns, to_parquet
from trainables.storage.folder import Folder, StorageError

LARGEST = 50_000_000_000  # bytes; the files of a larger data set are not read
SETTLED = 2_000_000_000  # ns; a file that changed more recently may change again and keep the same time stamp
READERS, PIECE = 8, 256  # threads; files that each takes at a time
SMALL = 1 << 20  # bytes; a file up to this size is read at once
DOWNLOADS = "~/.cache/howcompact"  # where torchvision downloads to, by default
BELOW = {"fashion_mnist": "FashionMNIST/raw"}  # data set -> folder of its files below data.path
COLUMNS = pa.schema([("name", pa.string()), ("size", pa.int64()), ("modified", pa.int64()), ("sha256", pa.string())])

Say = Callable[[str], None]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Stored:
    """The files of a data set."""

    root: Path
    names: Sequence[str]  # relative to the root, in an order that does not depend on the root
    labels: Integers  # (N,), of all samples
    reading: str = ""  # how the files are read, where names, contents and labels leave a choice


class FileState(NamedTuple):
    """The state of a file at one time. The same state means the same content."""

    name: str
    size: int  # bytes
    modified: int  # ns since 1970


def root_of(data: DataSpec) -> Path:
    """Return the folder of a data set's files."""
    return Path(data.path or DOWNLOADS).expanduser() / BELOW.get(data.name, "")


def record_name(root: Path) -> str:
    """Name the file in `artifacts/data` of a storage that keeps the checksums of the files in a folder."""
    return f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.parquet"


def checksum(stored: Stored, storage: Folder, say: Say) -> str:
    """Return a checksum, 32 hexadecimal digits, of the names, contents and labels of a data set.

    Above `LARGEST` bytes, sizes replace contents: a change that keeps names, sizes and labels is not noticed.
    `storage` keeps the checksum of each file. It is used again as long as the file's size and time of change are the
    same. Raises ValueError for a file that cannot be read.
    """
    files = _of_each(lambda name: _state(stored.root, name), stored.names)
    size = sum(file.size for file in files)
    data_set = f"data in {stored.root}: {quantity(len(files), 'file')}, {size / 1e6:,.1f} MB"
    if size > LARGEST:
        say(
            f"{data_set}, identified by names, sizes and labels, as they are more than {LARGEST / 1e9:g} GB; "
            "a change that keeps all of these is not noticed"
        )
        return _joined("sizes", stored, [str(file.size) for file in files])
    sums, read = _checksums(stored.root, files, storage, say)
    say(f"{data_set}, identified by names, contents and labels; {read:,} were read, as they are new or changed")
    return _joined("contents", stored, sums)


def _checksums(root: Path, files: Sequence[FileState], storage: Folder, say: Say) -> tuple[list[str], int]:
    """Return the checksum of each file, and the number of files that were read."""
    folder = storage / "artifacts" / "data"
    record = record_name(root)
    started, known = time.time_ns(), _read_record(folder, record)
    due = [file for file in files if file not in known]
    if (size := sum(file.size for file in due)) > LARGEST / 50:
        say(f"reading {quantity(len(due), 'file')}, {size / 1e6:,.1f} MB, for their checksums")
    sums = {**known, **dict(zip(due, _of_each(lambda file: _sha256(root, file), due), strict=True))}
    settled = {file: sums[file] for file in files if file.modified < started - SETTLED}
    if settled != known:
        with suppress(StorageError):  # a run that may not write here reads all files next time, too
            folder.write(record, _as_parquet(settled))
    return [sums[file] for file in files], len(due)


def _read_record(folder: Folder, record: str) -> dict[FileState, str]:
    """Read the checksums that an earlier run recorded. Empty where there is no record, or a damaged one."""
    try:
        names, sizes, times, sums = read_columns(folder.read(record), COLUMNS.names).cast(COLUMNS).to_pydict().values()
    except (FileNotFoundError, ValueError):
        return {}
    return dict(zip(map(FileState, names, sizes, times), sums, strict=True))


def _as_parquet(sums: Mapping[FileState, str]) -> bytes:
    rows = [{**file._asdict(), "sha256": of_file} for file, of_file in sums.items()]
    return to_parquet(pa.Table.from_pylist(rows, COLUMNS))


def _joined(kind: str, stored: Stored, of_files: Iterable[str]) -> str:
    """Return the checksum of the names, of one text for each file, and of the labels."""
    whole = hashlib.sha256(f"{kind}\n".encode())
    for name, of_file in zip(stored.names, of_files, strict=True):
        whole.update(f"{name}\0{of_file}\n".encode())
    whole.update(np.ascontiguousarray(stored.labels, "<i8").tobytes())
    whole.update(stored.reading.encode())
    return whole.hexdigest()[:32]


def _state(root: Path, name: str) -> FileState:
    status = (root / name).stat()
    return FileState(name, status.st_size, status.st_mtime_ns)


def _sha256(root: Path, file: FileState) -> str:
    with (root / file.name).open("rb", buffering=0) as opened:
        if file.size > SMALL:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        return hashlib.sha256(opened.readall()).hexdigest()


def _of_each(function: Callable[[T], R], files: Sequence[T]) -> list[R]:
    """Apply a function to files, to some at the same time. Raises ValueError for a file that cannot be read."""

    def of_piece(start: int) -> list[R]:
        return [function(file) for file in files[start : start + PIECE]]

    with ThreadPoolExecutor(READERS) as pool:
        try:
            return [result for piece in pool.map(of_piece, range(0, len(files), PIECE)) for result in piece]
        except OSError as error:
            raise ValueError(
                f"each file of a data set must be readable, but one is not ({error}); repair it"
            ) from error
