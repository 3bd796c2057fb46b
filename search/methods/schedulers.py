"""Schedulers by name: they stop trials of a search early, comparing each with trials of the same search only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.methods.stopping import Halving, Median, Rule
from trainables.own_function import is_external
from trainables.plugins import load
from trainables.spec import EpochReport
from trainables.task_spec import MetricSpec
from trainables.trial.reports import METRIC, costs_of, from_tune

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

AGE = "training_iteration"  # number of epochs judged so far, epoch 0 included: Ray has no rung before 1
PROMISED = "promised"  # whether the value of the metric is the promise of epoch 0
FURTHEST = 1_000_000  # epochs; a rung that no trial reaches costs nothing

Goals = Sequence[str]  # the metric, then costs, as `Facts.costs` names them


def fifo(goals: Goals) -> "TrialScheduler":
    """Run every trial to its end."""
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


def asha(goals: Goals, brackets: int = 1) -> "TrialScheduler":
    """Asynchronous successive halving (arXiv 1810.05934): at each rung only the best third continues.

    The rungs are epochs 0, 2, 8, 26, ...: there a trial has been judged 1, 3, 9, 27, ... times. The rung at epoch 0 is
    our addition: it costs a trial its pruning and a short training on the calibration samples. A trial that does not
    report the epoch of a rung is judged by its next report. Several goals are ranked: see `stopping.Halving`.
    """
    if len(goals) > 1:
        return _following(Halving(brackets), goals)
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


def hyperband(goals: Goals) -> "TrialScheduler":
    """Asynchronous Hyperband (arXiv 1603.06560): successive halving whose first rung is epoch 0, 2 or 8 at random."""
    return asha(goals, brackets=3)


def median(goals: Goals) -> "TrialScheduler":
    """Stop a trial whose best value is below the median of the other trials' running averages, from epoch 0 on.

    At epoch 0 promises are compared, later the metric. Several goals are ranked: see `stopping.Median`.
    """
    return _following(Median(), goals)


SCHEDULERS: Mapping[str, Callable[[Goals], "TrialScheduler"]] = {
    "fifo": fifo,
    "asha": asha,
    "median": median,
    "hyperband": hyperband,
}


def scheduler(name: str) -> Callable[[Goals, int], "TrialScheduler"]:
    """Look up a scheduler by its name, or take a function of the user's own. Raises ValueError as `plugins.load`.

    What this returns makes a scheduler from the goals and the most epochs that a trial reports, epoch 0 included. A
    function of the user's own gets this number of epochs, `METRIC`, and the mode "max".
    """
    if not is_external(name):
        return lambda goals, epochs: SCHEDULERS[name](goals)
    make: Callable[[int, str, str], TrialScheduler] = load("scheduler", name)
    return lambda goals, epochs: make(epochs, METRIC, "max")


def _following(rule: Rule, goals: Goals) -> "TrialScheduler":
    """Make a scheduler that follows a rule. A report without one of the goals is not judged."""
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    def stops(trial: Any, result: Mapping[str, Any]) -> bool:
        if not all(goal in result for goal in goals[1:]):
            return False
        point = (result[METRIC], *(-result[goal] for goal in goals[1:]))
        return rule.stops(trial.trial_id, result[AGE], point, result[PROMISED])

    class Following(FIFOScheduler):
        def __init__(self) -> None:
            TrialScheduler.__init__(self)

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            return str(TrialScheduler.STOP if stops(trial, result) else TrialScheduler.CONTINUE)

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            stops(trial, result)  # the rule notes the report

    return Following()


@dataclass(frozen=True)
class Past:
    """A trial that has ended: its reports, at least one, in their order, and its costs."""

    reports: Sequence[EpochReport]
    costs: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Ended:
    """What a scheduler needs to know about a trial of an earlier run."""

    trial_id: str


def per_search(
    make: Callable[[], "TrialScheduler"],
    search_of: Callable[[Any], str | None],
    first_epoch_of: Callable[[Any], int],
    ended: Callable[[str], Mapping[str, Past]],
    metric: MetricSpec,
) -> "TrialScheduler":
    """Give each search its own scheduler, which knows the trials of the search that have already ended.

    search_of: names the search of a Tune trial; None for a trial that is never stopped. first_epoch_of: the first epoch
    by which a trial can be judged. ended: the trials that a search starts from, and its trials of earlier runs: key ->
    trial. metric: of the study. A scheduler gets results with the entries `METRIC` (higher is better; the promise at
    epoch 0), `AGE`, which is Ray's default for time, `PROMISED`, and the costs. Epoch 0 is judged by its promise;
    without one, as in trials of a run without a scheduler, it is not judged.
    """
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    def is_judged(trial: Any, report: EpochReport) -> bool:
        return report.epoch > 0 or (first_epoch_of(trial) == 0 and report.promise is not None)

    def judged(trial: Any, report: EpochReport, costs: Mapping[str, float]) -> dict[str, Any]:
        promised = report.promise is not None
        value = report.promise if promised else metric.sign * report.val_accuracy
        return {METRIC: value, AGE: report.epoch - first_epoch_of(trial) + 1, PROMISED: promised, **costs}

    def scheduler_of(search: str, newcomer: Any) -> TrialScheduler:
        scheduler = make()
        for name, trial in ended(search).items():
            past = _Ended(name)
            results = [judged(newcomer, each, trial.costs) for each in trial.reports if is_judged(newcomer, each)]
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
            self._schedulers: dict[str, TrialScheduler] = {}

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
            return str(scheduler.on_trial_result(tune_controller, trial, judged(trial, report, costs_of(result))))

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            scheduler, report = self._of(trial), from_tune(result)
            if scheduler and isinstance(report, EpochReport) and is_judged(trial, report):
                scheduler.on_trial_complete(tune_controller, trial, judged(trial, report, costs_of(result)))

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            if scheduler := self._of(trial):
                scheduler.on_trial_error(tune_controller, trial)

    return PerSearch()
