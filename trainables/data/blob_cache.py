"""Spools: the blobs of a file one after the other, any of them a single read away, made once by each machine.

A true shuffle wants rows from all over a Parquet file, which can only be read by the thousand.
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

BLOBS, EDGES = "blobs", "edges"  # files of a spool; the latter (N + 1,) int64: blob i is blobs[edges[i]:edges[i + 1]]


class Source(NamedTuple):
    """What a spool is made of."""

    told: str  # which file, and in which state of it
    size: int  # bytes, about
    blobs: Callable[[], Iterable[bytes]]


class Spool:
    """Blobs by number; a missing one is empty."""

    def __init__(self, folder: Path) -> None:
        self._edges = np.memmap(folder / EDGES, np.int64, "r")
        self._blobs = folder / BLOBS

    def __getitem__(self, number: int) -> bytes:
        start, stop = self._edges[number : number + 2].tolist()
        with self._blobs.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), stop - start, start)


def open_all(sources: Sequence[Source]) -> list[Spool]:
    """Open the spools of sources; those that this machine lacks are made first, by one process at a time.

    They lie in the folder for temporary files, TMPDIR. Raises ValueError where that is too full.
    """
    home = _home()
    folders = [home / hashlib.sha256(source.told.encode()).hexdigest()[:32] for source in sources]
    with _locked(home):
        lacking = [pair for pair in zip(folders, sources, strict=True) if not pair[0].exists()]
        needed, free = sum(source.size for _, source in lacking), shutil.disk_usage(home).free
        if needed > free:
            raise ValueError(
                f"to stream in any order, Parquet must be copied to {home}, but its {needed / 1e9:.3g} GB are more "
                f"than the {free / 1e9:.3g} GB that are free there; free some, or set TMPDIR to a folder with room"
            )
        for folder, source in lacking:
            _make(folder, source)
    return [Spool(folder) for folder in folders]


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


def _home() -> Path:
    home = Path(tempfile.gettempdir()) / f"howcompact-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.getuid():
        raise ValueError(f"{home} must be a folder of your own, but somebody else has made it; set TMPDIR to another")
    return home


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
