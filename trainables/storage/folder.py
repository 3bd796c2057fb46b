"""Storage behind one URI: a local folder, NFS, s3:// or gs://, through pyarrow.fs."""

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, NoReturn, TypeVar, cast

from pyarrow import fs
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_chain,
    wait_fixed,
)

from trainables.storage import credentials

LARGEST, LARGEST_JSON = 1 << 33, 1 << 28  # most bytes of a file that is read, and of a JSON file
LONGEST = 255  # bytes of a name, as in most file systems
_SCHEMES = "s3a?|gs|gcs|hdfs|viewfs|abfss?|az|https?|file"
_MISSPELT = re.compile(rf"(?:{_SCHEMES})(?::(?!//)|//)|[a-z][a-z0-9+.-]*:/(?!/)", re.IGNORECASE)
PAUSES = (0.1, 0.5, 2.0)  # seconds before each attempt but the first two; the second follows the first at once

Method = TypeVar("Method", bound=Callable[..., Any])


class StorageError(OSError):
    """Every attempt to use the storage failed: no space, no permission, no connection. The content is unchanged."""


def _give_up(state: RetryCallState) -> NoReturn:
    """Raise a StorageError for a method of Folder whose last attempt failed."""
    assert state.outcome is not None
    assert state.fn is not None
    error, folder = state.outcome.exception(), state.args[0]
    raise StorageError(
        f"storage must work, but {state.fn.__name__} fails in {folder.uri}: {error}; check its free space, permissions "
        "and connection, then run the same command again: it continues from here"
    ) from error


def retried(*answers: type[OSError]) -> Callable[[Method], Method]:
    """Repeat a method of Folder after an OSError. Raise StorageError after the last attempt.

    `answers` are errors that say something about the content, such as FileNotFoundError. They are raised at once.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(OSError) & retry_if_not_exception_type(answers),
        wait=wait_chain(*map(wait_fixed, PAUSES)),
        stop=stop_after_attempt(1 + len(PAUSES)),
        retry_error_callback=_give_up,
    )

    def decorate(method: Method) -> Method:
        @wraps(method)
        def attempt(folder: "Folder", *args: Any) -> Any:
            try:
                return method(folder, *args)  # tenacity takes longer than most local accesses
            except answers:
                raise
            except OSError:
                return retrying(method, folder, *args)

        return cast(Method, attempt)

    return decorate


@dataclass(frozen=True)
class Folder:
    """A folder below a storage URI. It is only text until its first use, so it is cheap and can be pickled."""

    base: str  # absolute path or URI, query included
    inside: str = ""  # path below the base, with "/"

    @classmethod
    def at(cls, uri: str) -> "Folder":
        """Take a local path (a relative one starts at the working directory) or a URI.

        Raises ValueError where pyarrow does not know the storage, where the URI holds credentials, and for a local
        path that looks like a misspelt URI.
        """
        if "://" not in uri:
            if _MISSPELT.match(uri):
                raise ValueError(
                    f"storage must be a folder or a URI such as s3://bucket/studies, but got {uri!r}; write :// after "
                    "the scheme, or ./ before the name of a folder"
                )
            return cls(os.path.abspath(os.path.expanduser(uri)))
        folder = cls(credentials.refuse("storage", uri))
        try:
            system, path = folder._location
        except Exception as error:
            raise ValueError(
                f"storage must be a folder or a URI that pyarrow can open, but {uri!r}: {str(error).splitlines()[0]}"
            ) from error
        return cls(path) if isinstance(system, fs.LocalFileSystem) else folder

    def __truediv__(self, name: str) -> "Folder":
        name = _inside(name)
        return Folder(self.base, f"{self.inside}/{name}" if self.inside else name)

    @property
    def uri(self) -> str:
        """The URI or local path of this folder."""
        location, mark, query = self.base.partition("?") if not self.is_local else (self.base, "", "")
        return f"{location.rstrip('/')}/{self.inside}{mark}{query}" if self.inside else self.base

    @property
    def parent(self) -> "Folder":
        """The folder that holds this one."""
        if self.inside:
            return Folder(self.base, self.inside.rpartition("/")[0])
        location, mark, query = self.base.partition("?") if not self.is_local else (self.base, "", "")
        return Folder(f"{location.rstrip('/').rpartition('/')[0]}{mark}{query}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        path = self.uri if self.is_local else self.uri.partition("?")[0]
        return path.rstrip("/").rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether this is a path of the local file system."""
        return "://" not in self.base

    @cached_property
    def _location(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the path of this folder in it."""
        if self.is_local:
            return fs.LocalFileSystem(), self.uri
        return fs.FileSystem.from_uri(_with_delayed_open(self.uri))  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {"base": self.base, "inside": self.inside}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @retried(FileNotFoundError)
    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises FileNotFoundError where it does not exist, ValueError where it is too large or no file. Like all methods
        below, it raises StorageError where the storage fails.
        """
        system, path = self._location
        file_path = f"{path}/{_inside(name)}"
        if self.is_local and os.path.exists(file_path) and not os.path.isfile(file_path):  # a pipe would never end
            raise ValueError(f"{name} in {self.uri} must be a file, but is not; remove it")
        most = LARGEST_JSON if name.endswith(".json") else LARGEST
        with system.open_input_file(file_path) as file:
            if file.size() > most:
                raise ValueError(f"{name} in {self.uri} must have at most {most:,} bytes, but has {file.size():,}")
            return bytes(file.read())

    @retried()
    def write(self, name: str, content: bytes) -> None:
        """Write a file. Readers see all of it or none of it, also when this process is killed."""
        system, path = self._location
        name = _inside(name)
        if not self.is_local:
            with system.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
            return
        os.makedirs(path, exist_ok=True)
        unfinished = f"{path}/.{name}.{uuid.uuid4().hex}"
        try:
            with open(unfinished, "wb") as file:
                file.write(content)
            os.replace(unfinished, f"{path}/{name}")
        except BaseException:
            if os.path.exists(unfinished):
                os.remove(unfinished)
            raise

    @retried()
    def has(self, name: str) -> bool:
        """Tell whether a file exists."""
        system, path = self._location
        return bool(system.get_file_info(f"{path}/{_inside(name)}").type == fs.FileType.File)

    @retried()
    def folders(self) -> list[str]:
        """Return the names of the folders in this one, sorted; none where it does not exist."""
        return self._names(fs.FileType.Directory)

    @retried()
    def files(self) -> list[str]:
        """Return the names of the files in this folder, sorted; none where it does not exist."""
        return self._names(fs.FileType.File)

    def _names(self, kind: fs.FileType) -> list[str]:
        system, path = self._location
        infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == kind)

    @retried()
    def size(self, name: str) -> int:
        """Return the bytes of a file or of all files in a folder; 0 where it does not exist. It follows no links."""
        system, path = self._location
        path = f"{path}/{_inside(name)}"
        if not self.is_local:
            info = system.get_file_info(path)
            below = fs.FileSelector(path, recursive=True, allow_not_found=True)
            infos = [info] if info.type == fs.FileType.File else system.get_file_info(below)
            return sum(info.size or 0 for info in infos)
        if not os.path.isdir(path) or os.path.islink(path):
            return os.lstat(path).st_size if os.path.lexists(path) else 0
        return sum(os.lstat(f"{folder}/{file}").st_size for folder, _, files in os.walk(path) for file in files)

    @retried()
    def delete(self) -> None:
        """Delete this folder and all that it holds. Nothing happens where it does not exist."""
        system, path = self._location
        if system.get_file_info(path).type == fs.FileType.Directory:
            system.delete_dir(path)

    @retried(FileNotFoundError)
    def remove(self, name: str) -> None:
        """Delete a file. Raises FileNotFoundError where it does not exist."""
        system, path = self._location
        system.delete_file(f"{path}/{_inside(name)}")


def _inside(name: str) -> str:
    """Return the name of a file or folder. Raises ValueError for a name that leads out of its folder."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > LONGEST:
        raise ValueError(f"a name in a storage must be that of one file or folder, but got {name[:LONGEST]!r}")
    return name


def _with_delayed_open(uri: str) -> str:
    """Let S3 take a small file in one request; by default pyarrow starts an upload in parts, of three requests."""
    if not uri.startswith("s3://") or "allow_delayed_open=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}allow_delayed_open=true"
