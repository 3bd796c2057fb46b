"""Blob caches: the blobs of a file, copied once on each machine so that a single read gets any of them.

A true shuffle needs rows from all parts of a Parquet file, but Parquet can only be read in groups of thousands of rows.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

BLOBS, EDGES = "blobs", "edges"  # files of a cache; edges are (N + 1,) int64: blob i is blobs[edges[i]:edges[i + 1]]


class Source(NamedTuple):
    """The blobs that a cache copies."""

    state: str  # the file, and the state that it is in; the same text means the same blobs
    size: int  # approximate bytes
    blobs: Callable[[], Iterable[bytes]]


class BlobCache:
    """Blobs by number. A missing blob is empty."""

    def __init__(self, folder: Path) -> None:
        self._edges = np.memmap(folder / EDGES, np.int64, "r")
        self._blobs = folder / BLOBS

    def __getitem__(self, number: int) -> bytes:
        start, stop = self._edges[number : number + 2].tolist()
        with self._blobs.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), stop - start, start)


def open_all(sources: Sequence[Source]) -> list[BlobCache]:
    """Open the caches of sources. One process at a time makes those that this machine lacks.

    They lie in the folder for temporary files, TMPDIR. Raises ValueError where it has not enough free space.
    """
    cache_folder = _cache_folder()
    folders = [cache_folder / hashlib.sha256(source.state.encode()).hexdigest()[:32] for source in sources]
    with _locked(cache_folder):
        missing = [pair for pair in zip(folders, sources, strict=True) if not pair[0].exists()]
        needed, free = sum(source.size for _, source in missing), shutil.disk_usage(cache_folder).free
        if needed > free:
            raise ValueError(
                f"to stream in any order, Parquet must be copied to {cache_folder}, but its {needed / 1e9:.3g} GB are "
                f"more than the {free / 1e9:.3g} GB that are free there; free some, or set TMPDIR to a larger folder"
            )
        for folder, source in missing:
            _make(folder, source)
    return [BlobCache(folder) for folder in folders]


def _make(folder: Path, source: Source) -> None:
    unfinished = folder.with_suffix(".unfinished")
    unfinished.mkdir(exist_ok=True)
    edges = [0]
    with (unfinished / BLOBS).open("wb") as file:
        for blob in source.blobs():
            file.write(blob)
            edges.append(edges[-1] + len(blob))
    np.array(edges, np.int64).tofile(unfinished / EDGES)
    unfinished.rename(folder)


def _cache_folder() -> Path:
    cache_folder = Path(tempfile.gettempdir()) / f"howcompact-{os.getuid()}"
    cache_folder.mkdir(mode=0o700, exist_ok=True)
    if cache_folder.is_symlink() or cache_folder.stat().st_uid != os.getuid():
        raise ValueError(
            f"{cache_folder} must be a folder that belongs to you, but another user made it; set TMPDIR to another"
        )
    return cache_folder


@contextmanager
def _locked(cache_folder: Path) -> Iterator[None]:
    with (cache_folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
