"""Optuna's journal of a study folder's searches: one file that optuna-dashboard and Optuna itself open."""

import json
import time
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from trainables.storage import Folder

JOURNAL = "optuna.journal"
PATIENCE = 30  # times as long as a writing took until the next: at most 3 % of the driver's time
LEAST_SECONDS = 2.0


class Journal(BaseJournalBackend):
    """Optuna's own file format, written whole now and then.

    Optuna's file backend appends and locks: a kill leaves torn lines and locks behind, and object stores can do
    neither. Here a kill loses seconds, which the trials' own files give back. One process writes: the study's driver.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._text = bytearray(folder.read(JOURNAL)) if folder.has(JOURNAL) else bytearray()
        self._unread = [json.loads(line) for line in self._text.splitlines()]
        self._saved, self._due = len(self._text), 0.0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Hand out what the only reader, Optuna's storage in this process, has not read."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take entries, and hand them back as a reader of the file would see them."""
        for log in logs:
            line = json.dumps(log, separators=(",", ":"))
            self._text += line.encode() + b"\n"
            self._unread.append(json.loads(line))

    def save_in_time(self) -> None:
        """Write the file if that is due."""
        if time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Write the file if anything is new."""
        if len(self._text) == self._saved:
            return
        started = time.monotonic()
        self._folder.write(JOURNAL, bytes(self._text))
        self._saved = len(self._text)
        self._due = time.monotonic() + max(LEAST_SECONDS, PATIENCE * (time.monotonic() - started))
