"""Optuna's journal of a study folder's searches: one file that optuna-dashboard and Optuna itself open."""

import json
import time
from collections.abc import Container, Iterable
from contextlib import suppress
from typing import Any
from zlib import crc32

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error

JOURNAL = "optuna.journal"
PATIENCE = 30  # times as long as a writing took until the next: at most 3 % of the driver's time
LEAST_SECONDS = 2.0
CHECK = b',"crc":'  # before the last entry of a line, which Optuna does not look at: the checksum of all lines so far


class Journal(BaseJournalBackend):
    """Optuna's own file format, written whole now and then.

    Optuna's file backend appends and locks: a kill leaves torn lines and locks behind, and object stores can do
    neither. Here a kill loses seconds, which the trials' own files give back. One process writes: the study's driver.
    """

    def __init__(self, folder: Folder, anew: bool = False) -> None:
        """Go on with the file of a folder, or write it anew; ValueError where it is damaged."""
        self._folder = folder
        self._text = bytearray(folder.read(JOURNAL)) if folder.has(JOURNAL) and not anew else bytearray()
        self._crc = 0
        with damage_as_error(JOURNAL):
            self._unread = [self._checked(line) for line in bytes(self._text).splitlines()]
        self._saved, self._due = len(self._text), 0.0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Hand out what the only reader, Optuna's storage in this process, has not read."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Take entries, and hand them back as a reader of the file would see them."""
        for log in logs:
            entries = json.dumps(log, separators=(",", ":")).encode().removesuffix(b"}")
            self._crc = crc32(entries, self._crc)
            line = entries + CHECK + str(self._crc).encode() + b"}"
            self._text += line + b"\n"
            self._unread.append(json.loads(line))

    def _checked(self, line: bytes) -> Any:
        """Read a line, which one of an earlier version has no checksum for."""
        entries, found, told = line.rpartition(CHECK)
        if found:
            self._crc = crc32(entries, self._crc)
            if told != str(self._crc).encode() + b"}":
                raise ValueError(f"checksums must be those of the lines, but one is {told!r} and not {self._crc}")
        return json.loads(line)

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


def open_journal(folder: Folder) -> tuple[Journal, "SearchStorage"]:
    """Go on with the journal of a folder; a damaged one counts as never written."""
    for anew in (False, True):
        with suppress(ValueError):
            journal = Journal(folder, anew)
            return journal, SearchStorage(journal)
    raise AssertionError("an empty journal can be replayed")


class SearchStorage(JournalStorage):
    """Optuna's storage, which each proposal asks what is enqueued: here that takes no look at every trial."""

    def __init__(self, journal: Journal) -> None:
        """Replay a journal; ValueError where it tells what cannot have happened."""
        with damage_as_error(JOURNAL):
            super().__init__(journal)
        self._enqueued: dict[int, set[int]] = {}  # study -> trials that were waiting when they were made

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's, and remember what is enqueued."""
        trial = super().create_new_trial(study_id, template_trial)
        if template_trial is not None and template_trial.state == TrialState.WAITING:
            self._enqueued.get(study_id, set()).add(trial)  # where nobody has asked, who does will find it
        return trial

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As Optuna's."""
        if states != (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        if study_id not in self._enqueued:
            found = super().get_all_trials(study_id, deepcopy=False, states=states)
            self._enqueued[study_id] = {trial._trial_id for trial in found}
        trials = map(self.get_trial, sorted(self._enqueued[study_id]))
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        self._enqueued[study_id] = {trial._trial_id for trial in waiting}
        return waiting
