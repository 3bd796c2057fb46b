"""What has happened in a study's trials and waits to be written elsewhere; nothing here blocks."""

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


@dataclass(frozen=True)
class Finished:
    """An ended trial as its own record tells it; `epochs` maps each epoch to its metrics."""

    key: str
    params: Mapping[str, object]
    epochs: Mapping[int, Mapping[str, float]]
    metrics: Mapping[str, float]
    status: Status = "FINISHED"
    tags: Mapping[str, str] = field(default_factory=dict)


class Point(NamedTuple):
    """One finite value of one metric at one step; `at` is in milliseconds since 1970."""

    name: str
    value: float
    step: int
    at: int


@dataclass
class Events:
    """What is new of one trial since `since` (milliseconds since 1970); a status says that the trial has ended."""

    since: int
    params: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: Status | None = None

    @classmethod
    def of(cls, trial: Finished) -> "Events":
        """Tell a whole trial as events that all happen now."""
        now = now_ms()
        points = [point for step, metrics in trial.epochs.items() for point in as_points(metrics, step, now)]
        return cls(now, flat(trial.params), points, dict(trial.metrics), dict(trial.tags), trial.status)


class Inbox:
    """What waits to be written, between the threads that tell it and the one that writes it.

    Past `most` points and trials in all, the events of the trial that waits longest are dropped.
    """

    def __init__(self, most: int) -> None:
        self.gaps: set[str] = set()  # trials of which something was lost: only their record can complete them
        self.owed: set[str] = set()  # trials that have ended and are not written whole
        self._most, self._size = most, 0
        self._events: dict[str, Events] = {}
        self._lock = threading.Lock()
        self._unread: deque[Iterable[Finished]] = deque()
        self._records: dict[str, Finished] = {}

    def add(self, key: str, new: Events) -> None:
        """Merge what is new of a trial into what already waits of it."""
        with self._lock:
            if key not in self._events:
                self._events[key] = Events(new.since)
                self._size += 1
            old = self._events[key]
            old.params |= new.params
            old.points += new.points
            old.final |= new.final
            old.tags |= new.tags
            if new.status:
                old.status = new.status
                self.owed.add(key)
            self._size += len(new.points)
            while self._size > self._most:
                self.gaps.add(self._pop()[0])

    def take(self) -> tuple[str, Events] | None:
        """Return the trial that waits longest and all that waits of it; None if nothing does."""
        with self._lock:
            return self._pop() if self._events else None

    def add_records(self, trials: Iterable[Finished]) -> None:
        """Keep the records of ended trials, to be read by the thread that writes them."""
        self._unread.append(trials)

    def records(self) -> Sequence[Finished]:
        """Read what waits to be read and return every record that is not settled; raise what reading raises."""
        while self._unread:
            for trial in self._unread.popleft():
                self._records[trial.key] = trial
                self.owed.add(trial.key)
        return list(self._records.values())

    def settle(self, key: str, *, whole: bool) -> None:
        """Forget the trial's record; a trial that is written whole is owed no more."""
        self._records.pop(key, None)
        if whole:
            self.gaps.discard(key)
            self.owed.discard(key)

    def _pop(self) -> tuple[str, Events]:
        key = next(iter(self._events))
        events = self._events.pop(key)
        self._size -= 1 + len(events.points)
        return key, events


def now_ms() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def as_name(name: object) -> str:
    """Spell a name with the letters that MLflow allows, at its length of at most 250."""
    return re.sub(r"[^\w\-. :/]", "_", str(name))[:250]


def as_points(metrics: Mapping[str, float], step: int, at: int) -> list[Point]:
    """Turn the metrics of one step into points, without those that are not finite numbers."""
    return [
        Point(as_name(name), float(value), step, at)
        for name, value in metrics.items()
        if isinstance(value, Real) and math.isfinite(value)
    ]


def flat(settings: Mapping[str, object]) -> dict[str, str]:
    """Flatten nested settings to dotted names and texts of at most 6000 characters, MLflow's limit."""

    def walk(path: str, value: object) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                yield from walk(f"{path}.{name}" if path else str(name), inner)
        else:
            yield as_name(path), str(value)[:6000]

    return dict(walk("", settings)) if settings else {}
