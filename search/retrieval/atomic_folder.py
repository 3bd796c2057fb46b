"""A folder that is replaced whole or not at all, also when this process is killed or is not the only one."""

import ctypes
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@contextmanager
def replacing(folder: str) -> Iterator[Path]:
    """Yield an empty folder beside `folder` that takes its place when the block ends well, and is gone otherwise.

    What a killed process left beside it is cleared away first. Of several processes the last one to end is what stays.
    """
    place = Path(os.path.realpath(folder))
    place.parent.mkdir(parents=True, exist_ok=True)
    _clear(place)
    fresh, held = _make(place)
    try:
        yield fresh
        try:
            fresh.rename(place)
        except OSError:
            if not place.exists():
                raise
            _exchange(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(held)


def _make(place: Path) -> tuple[Path, int]:
    """Make a folder beside `place` and lock it; anew where another process has cleared it away in between."""
    while True:
        fresh = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.new")
        fresh.mkdir()
        with suppress(FileNotFoundError):
            held = os.open(fresh, os.O_RDONLY)
            if _is_ours(held) and fresh.exists():
                return fresh, held
            os.close(held)


def _exchange(fresh: Path, place: Path) -> None:
    """Swap two folders at once where the system can; else in steps, and `_clear` mends what a kill leaves of them."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None or renameat2(HERE, os.fsencode(fresh), HERE, os.fsencode(place), EXCHANGE):
        place.rename(_aside(place))  # macOS and some network file systems
        fresh.rename(place)
        shutil.rmtree(_aside(place))


def _clear(place: Path) -> None:
    if _aside(place).exists():
        if place.exists():
            shutil.rmtree(_aside(place))
        else:
            _aside(place).rename(place)
    for left in place.parent.glob(f".{place.name}.*.new"):
        with suppress(FileNotFoundError):
            held = os.open(left, os.O_RDONLY)
            if _is_ours(held):
                shutil.rmtree(left, ignore_errors=True)
            os.close(held)


def _is_ours(folder: int) -> bool:
    """Lock an open folder; False where a living process has. A file system without locks has no other processes."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")
