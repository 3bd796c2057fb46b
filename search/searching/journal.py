"""Optuna's journal of the searches of a study folder: one file that Optuna and optuna-dashboard can open."""

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
KEY = "trial"  # attribute of an entry: the trial's key
PAUSE = 30  # pause between two writes, in durations of the last write: writing takes at most 3 % of the time
LEAST_SECONDS = 2.0  # between two writes
CHECK = b',"crc":'  # starts the last entry of a line, the checksum of all lines so far; Optuna ignores it


class Journal(BaseJournalBackend):
    """Backend that holds the journal in memory and writes the whole file, in Optuna's format, from time to time.

    Optuna's file backend appends and locks: a killed process leaves torn lines and locks, and object stores can do
    neither. Here a killed process loses the entries of the last seconds, which the trials' own files restore. Only the
    study's driver writes.
    """

    def __init__(self, folder: Folder, empty: bool = False) -> None:
        """Continue the file of a folder, or start an empty one; ValueError if the file is damaged."""
        self._folder = folder
        self._text = bytearray(folder.read(JOURNAL)) if folder.has(JOURNAL) and not empty else bytearray()
        self._crc = 0
        with damage_as_error(JOURNAL):
            self._unread = [self._checked(line) for line in bytes(self._text).splitlines()]
        self._saved, self._due = len(self._text), 0.0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the entries that the only reader, Optuna's storage in this process, has not read."""
        unread, self._unread = self._unread, []
        return unread

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append entries; the reader gets them as it would read them from the file."""
        for log in logs:
            entries = json.dumps(log, separators=(",", ":")).encode().removesuffix(b"}")
            self._crc = crc32(entries, self._crc)
            line = entries + CHECK + str(self._crc).encode() + b"}"
            self._text += line + b"\n"
            self._unread.append(json.loads(line))

    def _checked(self, line: bytes) -> Any:
        """Parse a line and verify its checksum; lines of earlier versions have none."""
        entries, separator, checksum = line.rpartition(CHECK)
        if separator:
            self._crc = crc32(entries, self._crc)
            if checksum != str(self._crc).encode() + b"}":
                raise ValueError(f"checksums must match the lines, but one is {checksum!r} instead of {self._crc}")
        return json.loads(line)

    def save_in_time(self) -> None:
        """Write the file if the pause since the last write is over."""
        if time.monotonic() >= self._due:
            self.save()

    def save(self) -> None:
        """Write the file if there are new entries."""
        if len(self._text) == self._saved:
            return
        started = time.monotonic()
        self._folder.write(JOURNAL, bytes(self._text))
        self._saved = len(self._text)
        self._due = time.monotonic() + max(LEAST_SECONDS, PAUSE * (time.monotonic() - started))


def open_journal(folder: Folder) -> tuple[Journal, "SearchStorage"]:
    """Continue the journal of a folder; a damaged journal is replaced by an empty one."""
    for empty in (False, True):
        with suppress(ValueError):
            journal = Journal(folder, empty)
            return journal, SearchStorage(journal)
    raise AssertionError("an empty journal can be replayed")


def recorded_trials(folder: Folder) -> set[str]:
    """Return the keys of the trials that the journal of a folder names. Raises ValueError for a damaged journal."""
    storage = SearchStorage(Journal(folder))
    studies = [study._study_id for study in storage.get_all_studies()]
    attributes = [trial.user_attrs for study in studies for trial in storage.get_all_trials(study, deepcopy=False)]
    return {each[KEY] for each in attributes if KEY in each}


class SearchStorage(JournalStorage):
    """Optuna's storage that finds enqueued trials without a look at every trial: each proposal asks for them."""

    def __init__(self, journal: Journal) -> None:
        """Replay a journal; ValueError if its entries contradict each other."""
        with damage_as_error(JOURNAL):
            super().__init__(journal)
        self._enqueued: dict[int, set[int]] = {}  # study -> trials that were created as waiting

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial as Optuna's storage does, and remember it if it is enqueued."""
        trial_id = super().create_new_trial(study_id, template_trial)
        if template_trial is not None and template_trial.state == TrialState.WAITING:
            self._enqueued.get(study_id, set()).add(trial_id)  # without a set yet, the first query finds it
        return trial_id

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return trials as Optuna's storage does."""
        if states != (TrialState.WAITING,):
            return super().get_all_trials(study_id, deepcopy, states)
        if study_id not in self._enqueued:
            trials = super().get_all_trials(study_id, deepcopy=False, states=states)
            numbers = [trial.number for trial in trials]
            self._enqueued[study_id] = {self.get_trial_id_from_study_id_trial_number(study_id, n) for n in numbers}
        enqueued = {trial_id: self.get_trial(trial_id) for trial_id in sorted(self._enqueued[study_id])}
        waiting = {trial_id: trial for trial_id, trial in enqueued.items() if trial.state == TrialState.WAITING}
        self._enqueued[study_id] = set(waiting)
        return list(waiting.values())
