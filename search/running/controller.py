"""Tune's controller of trials and their workers, which lets a worker that starts keep its trial."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune import tune as tune_module
from ray.tune.execution.tune_controller import TuneController


class Controller(TuneController):
    """Gives a worker that has ended a trial the next trial for which no worker starts.

    Tune gives it the oldest trial that waits. If a worker starts for that trial, Tune stops this worker and starts
    another one for the next trial. Where trials end faster than workers start, none of these workers ever runs a trial.
    """

    def _maybe_reuse_cached_actor(self, trial: Any) -> bool:
        chosen = next(self._without_worker(), None) if self._worker_starts(trial) else trial
        return chosen is not None and bool(super()._maybe_reuse_cached_actor(chosen))

    def _without_worker(self) -> Iterator[Any]:
        """Yield the trials that wait for a worker, oldest first, but none whose worker starts or is handed over."""
        for trial in self._pending_trials_list:
            if trial in self._staged_trials and trial not in self._resetting_trials and not self._worker_starts(trial):
                yield trial

    def _worker_starts(self, trial: Any) -> bool:
        worker = self._trial_to_actor.get(trial)
        return (
            worker is not None and worker not in self._started_actors and self._actor_manager.is_actor_started(worker)
        )


@contextmanager
def own_controller() -> Iterator[None]:
    """Let Tune use `Controller` inside this context; it has no setting for this."""
    module: Any = tune_module
    before = module.TuneController
    module.TuneController = Controller
    try:
        yield
    finally:
        module.TuneController = before
