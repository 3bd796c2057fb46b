"""A folder that is replaced whole or not at all, also when this process is killed or is not the only one."""

import ctypes
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.results.out_folder import writing

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux


@contextmanager
def replacing(folder: str) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` when the block ends, and is deleted if the block raises.

    What a killed process left beside `folder` is deleted first. Where several processes write it, the last one wins.
    """
    target = Path(os.path.realpath(folder))
    with writing(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        _clean_up(target)
        fresh, lock = _create(target)
    try:
        yield fresh
        try:
            fresh.rename(target)
        except OSError:
            if not target.exists():
                raise
            _exchange(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(lock)


def _create(target: Path) -> tuple[Path, int]:
    """Create and lock a folder beside `target`; once more where another process deletes it before it is locked."""
    while True:
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.new")
        fresh.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(fresh, os.O_RDONLY)
            if _try_lock(lock) and fresh.exists():
                return fresh, lock
            os.close(lock)


def _exchange(fresh: Path, target: Path) -> None:
    """Swap two folders: in one step where the system can, else in three, which `_clean_up` completes after a kill.

    A rename replaces an empty folder only, so full ones need Linux's renameat2. Python has no name for it (the package
    renameat2 has had no release since 2022), so ctypes calls it. Three steps alone would do, but then there is a moment
    without `target`, and a kill at that moment leaves it away until the next call. A symbolic link as `target` could be
    swapped portably, but users who copy or archive the folder expect a real one.
    """
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None or renameat2(
        AT_FDCWD, os.fsencode(fresh), AT_FDCWD, os.fsencode(target), RENAME_EXCHANGE
    ):  # macOS and some network file systems
        target.rename(_old(target))
        fresh.rename(target)
        shutil.rmtree(_old(target))


def _clean_up(target: Path) -> None:
    """Delete what killed processes left beside `target`, or put the old folder back where they had moved it away."""
    if _old(target).exists():
        if target.exists():
            shutil.rmtree(_old(target))
        else:
            _old(target).rename(target)
    for left in target.parent.glob(f".{target.name}.*.new"):
        with suppress(FileNotFoundError):
            lock = os.open(left, os.O_RDONLY)
            if _try_lock(lock):
                shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _try_lock(folder: int) -> bool:
    """Lock an open folder; False where another living process holds the lock.

    Where the file system has no locks, this process is taken to be the only one.
    """
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")
