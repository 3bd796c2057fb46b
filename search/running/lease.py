"""One run of a study at a time: a lease in the study folder, which its holder renews while it lives.

No storage but a local folder creates a file only if it is not there, and machines' clocks differ. So a lease is a file
that changes every few seconds, and whoever wants it looks on, by its own clock, whether it still does. Of two runs that
take it at once one has it, mostly the later; the other finds that out at a renewal, while Ray starts.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import psutil

from trainables.frozen import Frozen
from trainables.storage.folder import Folder

LEASE = "running.json"  # in the study folder while somebody runs the study
BEAT = 2.0  # seconds between two renewals
STALE = 60.0  # seconds without one after which a holder is gone: as long as NFS may show an old file


class Holder(Frozen):
    """Who holds a lease: the content of its file."""

    run: str  # nobody else's
    host: str
    machine: str  # its boot and its space of process numbers; "" where the system does not tell
    pid: int
    process: str  # when the process started: numbers are given out again
    since: str  # UTC, ISO 8601, by the holder's clock: for people only
    beat: int = 0

    @classmethod
    def here(cls) -> "Holder":
        """A new run in this process."""
        pid, since = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        host, process = socket.gethostname(), _start_of(pid)
        return cls(run=uuid.uuid4().hex, host=host, machine=_machine(), pid=pid, process=process, since=since)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, which began at {self.since}"

    @property
    def is_dead(self) -> bool:
        """Whether it is known to be gone, as it ran on this machine."""
        return self.machine == _machine() != "" and self.process != _start_of(self.pid)


UNREADABLE = Holder(run="", host="an unknown host", machine="", pid=0, process="", since="an unknown time")


class Lease:
    """The right to run the study of a folder; ValueError on entering where another run has it."""

    def __init__(self, folder: Folder, warn: Callable[[str], None]) -> None:
        """warn: told of waiting for a holder that may be gone."""
        self._folder, self._warn, self._own = folder, warn, Holder.here()
        self._successor: Holder | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="howcompact-lease", daemon=True)

    def check(self) -> None:
        """Raise ValueError once another run has taken the lease, as it had not been renewed in time."""
        if self._successor is not None:
            raise ValueError(
                f"a study must be run once at a time, but {self._successor}, has taken this one over after "
                f"{STALE:.0f} s without a sign from here; this run ends, and that one goes on from all that was done"
            )

    def __enter__(self) -> "Lease":
        if (holder := self._read()) is not None:
            self._outwait(holder)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(BEAT)  # a storage that hangs keeps nobody here
        with suppress(OSError):
            if (holder := self._read()) is not None and holder.run == self._own.run:
                self._folder.remove(LEASE)

    def _outwait(self, holder: Holder) -> None:
        """Return once a holder is gone; ValueError as soon as it shows that it is not."""
        patience, told = time.monotonic() + STALE, False
        while not holder.is_dead and time.monotonic() < patience:
            time.sleep(BEAT / 4)
            seen = self._read()
            if seen is None:
                return
            if seen not in (holder, UNREADABLE):
                raise ValueError(
                    f"a study must be run once at a time, but {seen}, is running {self._folder.uri}; wait for it, stop "
                    "it, or give this run another --name"
                )
            if not told and time.monotonic() > patience - STALE + 2 * BEAT:
                told = True
                self._warn(f"{holder}, has left the study without an end; waiting {STALE:.0f} s for a sign of it")

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):  # it may be back for the next time
                seen = self._read()
                if seen is not None and seen.run not in (self._own.run, UNREADABLE.run):
                    self._successor = seen
                    return
                self._write()

    def _read(self) -> Holder | None:
        try:
            return Holder.model_validate_json(self._folder.read(LEASE))
        except FileNotFoundError:
            return None
        except ValueError:  # damaged, or just being written where that takes more than one step
            return UNREADABLE

    def _write(self) -> None:
        self._own = self._own.model_copy(update={"beat": self._own.beat + 1})
        self._folder.write(LEASE, self._own.model_dump_json().encode())


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""


def _start_of(pid: int) -> str:
    """Return when a process of this machine started, in seconds since its boot; "" where no such process runs."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):  # its parent has not yet read its exit code
            return ""
        return f"{process.create_time() - psutil.boot_time():.2f}"  # both follow the clock; their difference does not
    except psutil.NoSuchProcess:
        return ""
