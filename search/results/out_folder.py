"""Checks the folder of --out before the work starts, and words the errors of writing to it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

URI = re.compile(r"[A-Za-z][\w+.-]*:/")


def refuse_out(out: str | Path) -> None:
    """Raise ValueError for a folder that cannot be made or written here. Nothing is made."""
    if URI.match(str(out)):  # pathlib turns "://" into ":/"
        raise ValueError(
            f"--out must be a folder of this machine, but got {str(out)!r}; copy the folder there afterwards"
        )
    path = Path(out).absolute()
    nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        raise ValueError(f"--out must be a folder, but {nearest} is a file; name another")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"--out must be a folder that you may write to, but {nearest} is not; name another")


@contextmanager
def writing(out: str | Path) -> Iterator[None]:
    """Raise ValueError where the block cannot write to the folder. A StorageError passes through."""
    try:
        yield
    except OSError as error:
        from trainables.storage.folder import StorageError  # imports pyarrow, which --help does not need

        if isinstance(error, StorageError):
            raise
        text = f"--out must be a folder that can be written, but {out}: {error.strerror}; name another"
        raise ValueError(text) from error
