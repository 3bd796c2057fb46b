"""Waits for tasks on Ray, and says how far they are."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group

from search.running.failures import raised
from trainables.storage.folder import StorageError

Say = Callable[[str], None]
OWN_ERRORS = (  # of a task: its exception, or its worker was lost too often
    ray.exceptions.RayTaskError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)


@dataclass(frozen=True)
class Watch:
    """Tells from time to time how far some training is."""

    lines: Callable[[], Iterable[str]]
    first_pause: float = 10.0  # seconds; later pauses are a tenth of the time since the start
    longest_pause: float = 300.0

    def pause(self, spent: float) -> float:
        """Return the seconds until the next lines. spent: seconds since the start."""
        return min(max(self.first_pause, spent / 10), self.longest_pause)


def finish(groups: Mapping[Any, Any], what: str, say: Say, watch: Watch | None = None) -> dict[Any, Exception]:
    """Wait for tasks; remove each one's placement group at its end, as the next task may need the resources.

    Returns the errors of the tasks that failed. Raises StorageError.
    """
    waiting, done = list(groups), 0
    total, started, errors = len(waiting), time.monotonic(), dict[Any, Exception]()
    while waiting:
        pause = watch.pause(time.monotonic() - started) if watch else None
        ready, waiting = ray.wait(waiting, fetch_local=False, timeout=pause)
        if watch and not ready:
            for line in watch.lines():
                say(line)
            continue
        for task in ready:
            try:
                ray.get(task)
            except OWN_ERRORS as error:
                if isinstance(raised(error), StorageError):
                    raise raised(error) from None
                errors[task] = error
            if groups[task]:
                remove_placement_group(groups[task])
        done += len(ready)
        failed = f", {len(errors)} failed" if errors else ""
        say(f"{what}: {done} of {total}{failed}")
    return errors
