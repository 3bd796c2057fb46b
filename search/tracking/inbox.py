"""Events of trials that wait to be written to MLflow; nothing here blocks."""

import math
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal, NamedTuple

Status = Literal["FINISHED", "FAILED", "KILLED"]


class UsedData(NamedTuple):
    """The data set of a run, one of MLflow's inputs."""

    name: str
    digest: str  # the same for the same content; MLflow takes 36 characters
    path: str  # empty where a library has it


@dataclass(frozen=True)
class Finished:
    """An ended trial, read from its own record; `epochs` maps each epoch to its metrics."""

    key: str
    params: Mapping[str, object]
    epochs: Mapping[int, Mapping[str, float]]
    metrics: Mapping[str, float]
    status: Status = "FINISHED"
    tags: Mapping[str, str] = field(default_factory=dict)
    data: UsedData | None = None


class Point(NamedTuple):
    """One finite value of one metric at one step; `at` is in milliseconds since 1970."""

    name: str
    value: float
    step: int
    at: int


@dataclass
class Events:
    """News of one trial since `since` (milliseconds since 1970); a status means that the trial has ended."""

    since: int
    params: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: Status | None = None
    data: UsedData | None = None

    @classmethod
    def of(cls, trial: Finished) -> "Events":
        """Turn a whole trial into events that all happen now."""
        now = now_ms()
        points = [point for step, metrics in trial.epochs.items() for point in as_points(metrics, step, now)]
        return cls(now, flat(trial.params), points, dict(trial.metrics), dict(trial.tags), trial.status, trial.data)


class Inbox:
    """Queue of events between the threads that add them and the thread that writes them.

    If more than `most` points and trials wait, the inbox drops the events of the trial that has waited longest.
    """

    def __init__(self, most: int) -> None:
        self.gaps: set[str] = set()  # trials that lost events: only their records can complete them
        self.owed: set[str] = set()  # ended trials that are not completely written
        self._most, self._size = most, 0
        self._events: dict[str, Events] = {}
        self._lock = threading.Lock()
        self._unread: deque[Iterable[Finished]] = deque()
        self._records: dict[str, Finished] = {}

    def add(self, key: str, new: Events) -> None:
        """Merge news of a trial into its waiting events."""
        with self._lock:
            if key not in self._events:
                self._events[key] = Events(new.since)
                self._size += 1
            old = self._events[key]
            old.params |= new.params
            old.points += new.points
            old.final |= new.final
            old.tags |= new.tags
            old.data = new.data or old.data
            if new.status:
                old.status = new.status
                self.owed.add(key)
            self._size += len(new.points)
            while self._size > self._most:
                self.gaps.add(self._pop(next(iter(self._events)))[0])

    def take(self, before: float = math.inf) -> tuple[str, Events] | None:
        """Return the trial that has waited longest, with all its events; None if no trial is due.

        before: milliseconds since 1970; a trial is due that has ended, or whose news is from before this time.
        """
        with self._lock:
            due = (key for key, events in self._events.items() if events.status or events.since < before)
            key = next(due, None)
            return None if key is None else self._pop(key)

    def add_records(self, trials: Iterable[Finished]) -> None:
        """Keep records of ended trials; the writing thread reads them."""
        self._unread.append(trials)

    @property
    def has_records(self) -> bool:
        """Whether records of ended trials wait. News of these trials has to be written before them."""
        return bool(self._unread or self._records)

    def records(self) -> Sequence[Finished]:
        """Read the kept records and return all that are not settled; errors of reading pass through."""
        while self._unread:
            for trial in self._unread.popleft():
                self._records[trial.key] = trial
                self.owed.add(trial.key)
        return list(self._records.values())

    def settle(self, key: str, *, whole: bool) -> None:
        """Forget the record of a trial. whole: nothing of the trial is missing in MLflow."""
        self._records.pop(key, None)
        if whole:
            self.gaps.discard(key)
            self.owed.discard(key)

    def _pop(self, key: str) -> tuple[str, Events]:
        events = self._events.pop(key)
        self._size -= 1 + len(events.points)
        return key, events


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def as_name(name: object) -> str:
    """Replace characters that MLflow does not allow in a name, and cut it to MLflow's limit of 250."""
    return re.sub(r"[^\w\-. :/]", "_", str(name))[:250]


def as_points(metrics: Mapping[str, float], step: int, at: int) -> list[Point]:
    """Turn the metrics of one step into points; values that are not finite numbers are left out."""
    return [
        Point(as_name(name), float(value), step, at)
        for name, value in metrics.items()
        if isinstance(value, Real) and math.isfinite(value)
    ]


def flat(settings: Mapping[str, object]) -> dict[str, str]:
    """Flatten nested settings to dotted names and texts; texts are cut to MLflow's limit of 6000 characters."""

    def walk(path: str, value: object) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                yield from walk(f"{path}.{name}" if path else str(name), inner)
        else:
            yield as_name(path), str(value)[:6000]

    return dict(walk("", settings)) if settings else {}
