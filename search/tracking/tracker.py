"""Track a running study in MLflow, without ever waiting for MLflow.

The study folder is the truth, MLflow only shows it: a tracking server that is dead, hung or absent costs one warning,
never a trial. One daemon thread writes everything. `Tracker.backfill` writes lost events from the trials' records.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from tenacity import Retrying, wait_exponential

from search.tracking.inbox import Events, Finished, Inbox, Point, Status, UsedData, as_points, flat, now_ms
from search.tracking.mlflow_store import DeletedExperimentError, Store, cause_of, refused
from trainables.storage.credentials import redacted

__all__ = ["Finished", "Status", "Tracker", "UsedData"]

GATHER_SECONDS = 1.0  # between two looks for events
HELD_SECONDS = 10.0  # news of a running trial waits so long for its end; a trial that ends by then takes four calls
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds without a call after a failure; each further failure doubles them
MOST_WAITING = 50_000  # metric points that may wait while a server does not answer
SUMMARY = "the summary"  # its key among the trials in `Inbox.owed`


class Tracker:
    """Tracks a study in MLflow as far as the server allows; no call waits for the server or raises because of it.

    Args:
        uri: the server or database, as "http://host:5000" or "sqlite:////folder/mlflow.db"; None tracks nothing.
        study: the study's name; tags with it identify the study's run and those of its trials.
        params: the study's settings, which may be nested; MLflow keeps the first value of each.
        warn: called at most once: immediately if MLflow cannot be reached, or on closing if something is missing
            there. The writing thread may call it.
        artifacts: folder or URI of the files of a new sqlite database; a server has its own.
        data: the study's data set.
        tags: of the study's run.
    """

    def __init__(
        self,
        uri: str | None,
        study: str,
        params: Mapping[str, object],
        *,
        warn: Callable[[str], None],
        artifacts: str | None = None,
        data: UsedData | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._uri, self._warn, self._cause = uri or "", warn, ""
        self._open_store = partial(Store, self._uri, study, params, artifacts, data, tags or {})
        self._store: Store | None = None
        self._inbox = Inbox(MOST_WAITING)
        self._summaries: deque[tuple[Sequence[Path], Sequence[Point]]] = deque()
        self._reached, self._warned, self._ended, self._last = False, False, False, False
        self._hurry, self._closing, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="howcompact-mlflow", daemon=True)
        if self._uri:
            self._thread.start()

    def started(
        self,
        key: str,
        params: Mapping[str, object],
        tags: Mapping[str, str] | None = None,
        data: UsedData | None = None,
    ) -> None:
        """Open the trial's run, or continue it."""
        self._add(key, Events(now_ms(), params=flat(params), tags=dict(tags or {}), data=data))

    def epoch(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one epoch; values that are not finite numbers are left out."""
        now = now_ms()
        self._add(key, Events(now, points=as_points(metrics, step, now)))

    def finished(
        self, key: str, metrics: Mapping[str, float], status: Status, tags: Mapping[str, str] | None = None
    ) -> None:
        """End the trial's run; `metrics` are logged at its last epoch."""
        self._add(key, Events(now_ms(), final=dict(metrics), tags=dict(tags or {}), status=status))

    def backfill(self, trials: Iterable[Finished]) -> None:
        """Write what MLflow lacks of ended trials. The writing thread reads `trials`; a second call adds nothing."""
        if self._uri:
            self._inbox.add_records(trials)
            self._hurry.set()

    def summary(self, files: Sequence[Path], metrics: Mapping[str, float]) -> None:
        """Add files and metrics to the study's own run."""
        if self._uri:
            self._inbox.owed.add(SUMMARY)
            self._summaries.append((files, as_points(metrics, 0, now_ms())))
            self._hurry.set()

    def close(self, timeout: float = 20.0) -> None:
        """Write waiting events and end the study's run within `timeout` seconds; warn if MLflow lacks something."""
        if not self._uri:
            return
        self._closing.set()
        self._hurry.set()
        self._thread.join(timeout)
        self._abandoned.set()
        missing = sorted(self._inbox.owed)
        if missing or not self._ended:
            listing = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
            self._say(f"is missing {listing or 'the end of the study'} ({self._cause or f'not done in {timeout:g} s'})")

    def _add(self, key: str, new: Events) -> None:
        if self._uri:
            self._inbox.add(key, new)

    def _work(self) -> None:
        retrying = Retrying(
            wait=wait_exponential(FIRST_PAUSE, max=LONGEST_PAUSE),
            stop=lambda _: self._last,
            sleep=self._sleep,
            retry_error_callback=lambda _: None,  # the last attempt failed, too: close() warns of what is missing
        )
        while not (self._last or self._abandoned.is_set()):
            retrying(self._attempt)
            if not self._last:
                self._sleep(GATHER_SECONDS)

    def _sleep(self, seconds: float) -> None:
        """Wait, but not while somebody is in a hurry."""
        self._hurry.wait(seconds)
        self._hurry.clear()

    def _attempt(self) -> None:
        self._last = self._closing.is_set()
        try:
            self._store = self._store or self._open_store()
            self._reached = True
            self._write_all(self._store)
            if self._last:
                self._store.close()
                self._ended = True
        except Exception as error:
            self._note(error)
            self._store = None
            raise

    def _write_all(self, store: Store) -> None:
        before = math.inf if self._last or self._inbox.has_records else now_ms() - 1000 * HELD_SECONDS
        while not self._abandoned.is_set() and (taken := self._inbox.take(before)):
            key, events = taken
            whole = key not in self._inbox.gaps and not store.knows(key)
            if self._write(key, partial(store.write, key, events, whole=whole)) and whole and events.status:
                self._inbox.settle(key, whole=True)
        for trial in self._records():
            if self._abandoned.is_set():
                return
            whole = store.holds(trial) or self._write(
                trial.key, partial(store.write, trial.key, Events.of(trial), whole=True)
            )
            self._inbox.settle(trial.key, whole=whole)
        while self._summaries and not self._abandoned.is_set():
            if self._write(SUMMARY, partial(store.summary, *self._summaries[0])):
                self._inbox.settle(SUMMARY, whole=True)
            self._summaries.popleft()

    def _write(self, key: str, write: Callable[[], None]) -> bool:
        """Return whether MLflow accepted it; raise if MLflow did not answer."""
        try:
            write()
        except Exception as error:
            self._inbox.gaps.add(key)
            if not refused(error):
                raise
            self._note(error)
            return False
        return True

    def _records(self) -> Sequence[Finished]:
        while True:
            try:
                return self._inbox.records()
            except Exception as error:  # a record is unreadable: write the others
                self._inbox.owed.add("unreadable records")
                self._note(error)

    def _note(self, error: Exception) -> None:
        deleted = isinstance(error, DeletedExperimentError)
        self._cause = str(error) if deleted else cause_of(error)
        if not self._reached:
            self._say(f"takes no runs ({self._cause})" if deleted else f"does not answer ({self._cause})")

    def _say(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            where = redacted(self._uri)
            with suppress(Exception):
                self._warn(f"MLflow at {where} {message}; the study's next run writes what is missing")
