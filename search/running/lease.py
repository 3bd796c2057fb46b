"""One run of a study at a time: a lease in the study folder, which its holder renews while it runs.

Object stores cannot create a file only if it is absent, and clocks of machines differ. So a lease is a file that its
holder changes every few seconds, and another run watches by its own clock whether it still changes. If two runs take a
lease at the same time, one of them holds it, mostly the later. The other one notices at a renewal, while Ray starts.
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

LEASE = "running.json"  # in the study folder while a run holds it
BEAT = 2.0  # seconds between two renewals
STALE = 60.0  # seconds without a renewal after which a holder counts as gone; NFS may show an old file that long


class Holder(Frozen):
    """The holder of a lease: the content of its file."""

    run: str  # unique
    host: str
    machine: str  # its boot and its namespace of process numbers; "" if the system does not give them
    pid: int
    process: str  # when the process started, as process numbers are used again
    since: str  # UTC, ISO 8601, by the holder's clock; only for messages
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
        """Whether the holder is known to have ended; only this machine's processes are known."""
        return self.machine == _machine() != "" and self.process != _start_of(self.pid)


UNREADABLE = Holder(run="", host="an unknown host", machine="", pid=0, process="", since="an unknown time")


class Lease:
    """The right to run the study of a folder; entering raises ValueError if another run has it."""

    def __init__(self, folder: Folder, warn: Callable[[str], None]) -> None:
        """warn: gets a message if this run waits for a holder that may have ended."""
        self._folder, self._warn, self._own = folder, warn, Holder.here()
        self._successor: Holder | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="howcompact-lease", daemon=True)

    def check(self) -> None:
        """Raise ValueError if another run has taken the lease, because this run did not renew it in time."""
        if self._successor is not None:
            raise ValueError(
                f"a study must have one run at a time, but {self._successor}, has taken this one over, as this run did "
                f"not renew its lease for {STALE:.0f} s; this run stops, and the other one continues its work"
            )

    def __enter__(self) -> "Lease":
        if (holder := active_holder(self._folder, self._warn)) is not None:
            raise ValueError(
                f"a study must have one run at a time, but {holder}, is running {self._folder.uri}; wait for it, "
                "stop it, or give this run another --name"
            )
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(BEAT)  # does not wait for a storage that hangs
        with suppress(OSError):
            if (holder := _read(self._folder)) is not None and holder.run == self._own.run:
                self._folder.remove(LEASE)

    def _renew(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):  # the storage may work again at the next renewal
                current = _read(self._folder)
                if current is not None and current.run not in (self._own.run, UNREADABLE.run):
                    self._successor = current
                    return
                self._write()

    def _write(self) -> None:
        self._own = self._own.model_copy(update={"beat": self._own.beat + 1})
        self._folder.write(LEASE, self._own.model_dump_json().encode())


def active_holder(folder: Folder, warn: Callable[[str], None]) -> Holder | None:
    """Return the holder of a folder's lease as soon as it renews the lease; None once it counts as gone.

    warn: gets a message if the holder may have ended, as this takes `STALE` seconds then.
    """
    holder = _read(folder)
    started, warned = time.monotonic(), False
    while holder is not None and not holder.is_dead and time.monotonic() < started + STALE:
        time.sleep(BEAT / 4)
        current = _read(folder)
        if current is None or current not in (holder, UNREADABLE):
            return current
        if not warned and time.monotonic() > started + 2 * BEAT:
            warned = True
            warn(f"{holder}, does not renew its lease; waiting {STALE:.0f} s until it counts as gone")
    return None


def _read(folder: Folder) -> Holder | None:
    try:
        return Holder.model_validate_json(folder.read(LEASE))
    except FileNotFoundError:
        return None
    except ValueError:  # damaged, or half-written on a storage without atomic writes
        return UNREADABLE


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return ""


def _start_of(pid: int) -> str:
    """Return when a process of this machine started, in seconds since its boot; "" if no such process runs."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):  # its parent has not yet read its exit code
            return ""
        return f"{process.create_time() - psutil.boot_time():.2f}"  # both follow the clock; their difference does not
    except psutil.NoSuchProcess:
        return ""
