"""Schedulers by name: they stop trials of a search early, comparing each with trials of the same search only."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from trainables.spec import EpochReport
from trainables.task_spec import MetricSpec
from trainables.trial.reports import METRIC, from_tune

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

AGE = "age"  # number of epochs judged so far, epoch 0 included: Ray has no rung before 1
FURTHEST = 1_000_000  # epochs; a rung that no trial reaches costs nothing


def fifo() -> "TrialScheduler":
    """Run every trial to its end."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


def asha(brackets: int = 1) -> "TrialScheduler":
    """Asynchronous successive halving (arXiv 1810.05934): at each rung only the best third continues.

    The rungs are epochs 0, 2, 8, 26, ...: there a trial has been judged 1, 3, 9, 27, ... times. The rung at epoch 0 is
    our addition: it costs a trial its pruning and a short training on the calibration samples. A trial that does not
    report the epoch of a rung is judged by its next report.
    """
    from ray.tune.schedulers import AsyncHyperBandScheduler

    return AsyncHyperBandScheduler(
        time_attr=AGE,
        metric=METRIC,
        mode="max",
        max_t=FURTHEST,
        grace_period=1,
        reduction_factor=3,
        brackets=brackets,
    )


def hyperband() -> "TrialScheduler":
    """Asynchronous Hyperband (arXiv 1603.06560): successive halving whose first rung is epoch 0, 2 or 8 at random."""
    return asha(brackets=3)


def median() -> "TrialScheduler":
    """Stop a trial whose best value is below the median of the other trials' running averages, from epoch 0 on.

    A value is the metric, negative where lower is better, or the promise at epoch 0. This is the rule of Vizier
    (Golovin et al., KDD 2017, section 3.2.2). It applies once three other trials have reached the same epoch.
    """
    from ray.tune.schedulers import MedianStoppingRule

    return MedianStoppingRule(
        time_attr=AGE,
        metric=METRIC,
        mode="max",
        grace_period=1,
        min_samples_required=3,
        # Ray's rule pauses a trial so that others catch up, which restarts it; an infinite slice prevents that
        min_time_slice=math.inf,  # type: ignore[arg-type]
    )


SCHEDULERS: dict[str, Callable[[], "TrialScheduler"]] = {
    "fifo": fifo,
    "asha": asha,
    "median": median,
    "hyperband": hyperband,
}


class SearchKey(NamedTuple):
    """One search, or, of a search over several cells, its part in one cell."""

    policy: str
    cell: str


Histories = Mapping[str, Sequence[EpochReport]]  # key of a trial -> its reports, at least one, in their order


@dataclass(frozen=True, eq=False)
class _Ended:
    """What a scheduler needs to know about a trial of an earlier run."""

    trial_id: str


def per_search(
    make: Callable[[], "TrialScheduler"],
    search_of: Callable[[Any], SearchKey | None],
    first_epoch_of: Callable[[Any], int],
    ended: Callable[[SearchKey], Histories],
    metric: MetricSpec,
) -> "TrialScheduler":
    """Give each search its own scheduler, which knows the trials of the search that have already ended.

    search_of: names the search of a Tune trial; None for a trial that is never stopped. first_epoch_of: the first epoch
    by which a trial can be judged. ended: reports of the trials that a search starts from, and of its trials of earlier
    runs. metric: of the study. Epoch 0 is judged by its promise; without one, as in trials of a run without a
    scheduler, it is not judged.
    """
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    def is_judged(trial: Any, report: EpochReport) -> bool:
        return report.epoch > 0 or first_epoch_of(trial) > 0 or report.promise is not None

    def judged(trial: Any, report: EpochReport) -> dict[str, Any]:
        value = metric.sign * report.val_accuracy if report.promise is None else report.promise
        return {METRIC: value, AGE: report.epoch - first_epoch_of(trial) + 1}

    def scheduler_of(search: SearchKey, newcomer: Any) -> TrialScheduler:
        scheduler = make()
        for name, reports in ended(search).items():
            past = _Ended(name)
            results = [judged(newcomer, report) for report in reports if is_judged(newcomer, report)]
            if not results:
                continue
            scheduler.on_trial_add(None, past)  # type: ignore[arg-type]
            for result in results[:-1]:
                scheduler.on_trial_result(None, past, result)  # type: ignore[arg-type]
            scheduler.on_trial_complete(None, past, results[-1])  # type: ignore[arg-type]
        return scheduler

    class PerSearch(FIFOScheduler):
        def __init__(self) -> None:
            TrialScheduler.__init__(self)
            self._schedulers: dict[SearchKey, TrialScheduler] = {}

        def _of(self, trial: Any) -> "TrialScheduler | None":
            search = search_of(trial)
            if search is not None and search not in self._schedulers:
                self._schedulers[search] = scheduler_of(search, trial)
            return None if search is None else self._schedulers[search]

        def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
            if scheduler := self._of(trial):
                scheduler.on_trial_add(tune_controller, trial)

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            scheduler, report = self._of(trial), from_tune(result)
            if scheduler is None or not isinstance(report, EpochReport) or report.final or not is_judged(trial, report):
                return str(TrialScheduler.CONTINUE)
            return str(scheduler.on_trial_result(tune_controller, trial, judged(trial, report)))

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            scheduler, report = self._of(trial), from_tune(result)
            if scheduler and isinstance(report, EpochReport) and is_judged(trial, report):
                scheduler.on_trial_complete(tune_controller, trial, judged(trial, report))

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            if scheduler := self._of(trial):
                scheduler.on_trial_error(tune_controller, trial)

    return PerSearch()
