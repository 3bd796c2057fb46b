"""Schedulers of Ray that get their trials and results by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from ray.tune.schedulers import TrialScheduler

from search.methods.schedulers import SCHEDULERS, Past, per_search
from trainables.spec import EpochReport
from trainables.task_spec import MetricSpec
from trainables.trial.reports import to_tune

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE
ACCURACY = MetricSpec()
ONE = ("best_val_accuracy",)
TWO = (*ONE, "macs")


@dataclass(frozen=True, eq=False)
class Trial:
    """The parts of a Tune trial that a scheduler reads."""

    trial_id: str
    search: str | None
    status: str = "RUNNING"


def epoch_report(epoch: int, value: float, final: bool) -> EpochReport:
    """Return the report of an epoch: the value is the promise at epoch 0, and the accuracy later."""
    promise, accuracy = (None, value) if epoch else (value, 1 - value)
    return EpochReport(epoch=epoch, val_accuracy=accuracy, val_loss=1.0, seconds=1.0, final=final, promise=promise)


class Fed:
    """A scheduler of Ray that gets its trials and results by hand. Trial "a1" belongs to search "a"."""

    def __init__(
        self,
        name: str,
        first_epoch: int = 0,
        ended: Mapping[str, Past] = MappingProxyType({}),
        metric: MetricSpec = ACCURACY,
        goals: Sequence[str] = ONE,
    ) -> None:
        self.scheduler: Any = per_search(
            partial(SCHEDULERS[name], goals),
            lambda trial: trial.search,
            lambda trial: first_epoch,
            lambda search: ended,
            metric,
        )
        self.trials: dict[str, Trial] = {}

    def add(self, *names: str, of_a_search: bool = True) -> "Fed":
        for name in names:
            self.trials[name] = Trial(name, name[0] if of_a_search else None)
            self.scheduler.on_trial_add(None, self.trials[name])
        return self

    def hear(self, name: str, epoch: int, accuracy: float, final: bool = False, **costs: float) -> str:
        """Pass on an epoch. As Ray does, also pass on the end of a trial that is stopped or final."""
        result = to_tune(epoch_report(epoch, accuracy, final), costs)
        decision: str = self.scheduler.on_trial_result(None, self.trials[name], result)
        if decision == STOP or final:
            self.scheduler.on_trial_complete(None, self.trials[name], result)
        return decision
