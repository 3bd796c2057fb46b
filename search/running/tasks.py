"""Waits for tasks on Ray, and says how far they are."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.placement_group import remove_placement_group

from search.running.failures import raised
from trainables.storage.folder import StorageError

Say = Callable[[str], None]
Watch = Callable[[], str]  # says how far some training is
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0  # seconds between two lines on the progress of trainings
OWN_ERRORS = (  # of a task: its exception, or its worker was lost too often
    ray.exceptions.RayTaskError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)


def finish(groups: Mapping[Any, Any], what: str, say: Say, watch: Watch | None = None) -> dict[Any, Exception]:
    """Wait for tasks; remove each one's placement group at its end, as the next task may need the resources.

    Returns the errors of the tasks that failed. Raises StorageError.
    """
    waiting, done = list(groups), 0
    total, started, errors = len(waiting), time.monotonic(), dict[Any, Exception]()
    while waiting:
        pause = min(max(FIRST_PAUSE, (time.monotonic() - started) / 10), LONGEST_PAUSE)
        ready, waiting = ray.wait(waiting, fetch_local=False, timeout=pause if watch else None)
        if watch and not ready:
            say(watch())
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
