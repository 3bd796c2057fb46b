"""Schedulers: each search has its own, named policies are never stopped. test_variants runs a study under one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from search.methods.schedulers import SCHEDULERS, Past, per_search
from search.running.tuner import first_epoch_of
from trainables.spec import EpochReport, TrialSpec
from trainables.task_spec import MetricSpec
from trainables.training.recovery import RECOVERIES
from trainables.trial.reports import TrialFailed, to_tune

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


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_metric_that_is_better_low_stops_the_highest(name: str) -> None:
    fed = Fed(name, first_epoch=1, metric=MetricSpec(name="perplexity", higher_is_better=False))
    fed.add("a1", "a2", "a3", "a4")
    heard = [fed.hear(trial, 1, value) for trial, value in (("a1", 8.0), ("a2", 8.5), ("a3", 9.0))]
    assert heard[0] == CONTINUE
    assert fed.hear("a4", 1, 20.0) == STOP


def test_a_trial_is_compared_with_its_own_search_only() -> None:
    fed = Fed("asha").add("a1", "a2", "a3", "b1").add("named", of_a_search=False)
    assert fed.hear("a1", 0, 0.9) == CONTINUE
    assert fed.hear("a2", 0, 0.8) == STOP
    assert fed.hear("a3", 0, 0.1, final=True) == CONTINUE  # it ends by itself
    assert fed.hear("b1", 0, 0.1) == CONTINUE
    assert fed.hear("named", 0, 0.0) == CONTINUE


def test_a_failed_trial_is_not_a_bad_one() -> None:
    fed = Fed("asha").add("a1", "a2")
    assert fed.hear("a1", 0, 0.5) == CONTINUE
    failed = to_tune(TrialFailed("x"))
    assert fed.scheduler.on_trial_result(None, fed.trials["a2"], failed) == CONTINUE
    fed.scheduler.on_trial_complete(None, fed.trials["a2"], failed)
    assert fed.hear("a1", 2, 0.0) == CONTINUE  # no other trial has reached this rung


def test_asha_halves_before_any_training_and_after_two_and_eight_epochs() -> None:
    """The bar of a rung is the interpolated 2/3 quantile of the trials that came before."""
    fed = Fed("asha").add("a1", "a2", "a3", "a4", "a5")
    assert fed.hear("a1", 0, 0.6) == CONTINUE  # the first trial at this rung
    assert fed.hear("a2", 0, 0.3) == STOP  # bar 0.6
    assert fed.hear("a3", 0, 0.51) == CONTINUE  # bar of 0.3, 0.6: 0.3 + 2/3 x 0.3 = 0.5
    assert fed.hear("a4", 0, 0.53) == STOP  # bar of 0.3, 0.51, 0.6: 0.51 + 1/3 x 0.09 = 0.54
    assert fed.hear("a5", 0, 0.54) == CONTINUE  # bar of 0.3, 0.51, 0.53, 0.6: the third, 0.53
    assert fed.hear("a1", 1, 0.0) == CONTINUE  # no rung
    assert fed.hear("a1", 2, 0.7) == CONTINUE
    assert fed.hear("a3", 2, 0.69) == STOP
    assert fed.hear("a5", 2, 0.8) == CONTINUE
    assert [fed.hear("a5", epoch, 0.8) for epoch in range(3, 9)] == [CONTINUE] * 6
    assert [fed.hear("a1", epoch, 0.0) for epoch in range(3, 8)] == [CONTINUE] * 5
    assert fed.hear("a1", 8, 0.79) == STOP


def test_a_trial_that_skips_a_rung_is_judged_once_by_its_next_report() -> None:
    fed = Fed("asha").add("a1", "a2", "a3")
    epochs = {"a1": ((0, 0.7), (2, 0.7)), "a2": ((0, 0.7), (1, 0.1), (3, 0.69)), "a3": ((0, 0.7), (5, 0.71), (6, 0.1))}
    decisions = {name: [fed.hear(name, *report) for report in reports] for name, reports in epochs.items()}
    assert decisions == {"a1": [CONTINUE] * 2, "a2": [CONTINUE, CONTINUE, STOP], "a3": [CONTINUE] * 3}


def test_hyperband_starts_some_trials_later() -> None:
    """If each trial is worse than the one before, only the first trial of each first rung is left."""
    fed = Fed("hyperband")
    left = [f"a{n}" for n in range(200)]
    fed.add(*left)
    stopped = {}
    for epoch in range(10):
        decisions = {name: fed.hear(name, epoch, 0.9 - int(name[1:]) / 1000) for name in left}
        left = [name for name in left if decisions[name] == CONTINUE]
        stopped[epoch] = len(decisions) - len(left)
    assert {epoch for epoch, count in stopped.items() if count} == {0, 2, 8}
    assert stopped[0] > stopped[2] > stopped[8]
    assert len(left) <= 3


def test_the_median_rule_holds_from_epoch_0_on() -> None:
    fed = Fed("median").add("a1", "a2", "a3", "a4", "a5")
    for name, accuracy in (("a1", 0.2), ("a2", 0.4), ("a3", 0.6)):  # the rule needs three other trials
        assert fed.hear(name, 0, accuracy) == CONTINUE
    assert fed.hear("a4", 0, 0.39) == STOP  # median of 0.2, 0.4, 0.6
    assert fed.hear("a5", 0, 0.5) == CONTINUE
    for name, accuracy in (("a1", 0.4), ("a2", 0.8), ("a3", 0.8)):  # averages over epochs: 0.3, 0.6, 0.7
        assert fed.hear(name, 1, accuracy) == CONTINUE
    assert fed.hear("a5", 1, 0.59) == STOP


def test_the_median_rule_compares_a_metric_with_no_promise() -> None:
    """A promise lies in [0, 1]; a perplexity counts as negative, so that any promise would be a trial's best value."""
    fed = Fed("median", metric=MetricSpec(name="perplexity", higher_is_better=False)).add("a1", "a2", "a3", "a4")
    for name in ("a1", "a2", "a3"):
        fed.hear(name, 0, 0.5)
        fed.hear(name, 1, 8.0)
    assert fed.hear("a4", 0, 0.9) == CONTINUE
    assert fed.hear("a4", 1, 20.0) == STOP


@pytest.mark.parametrize("name", ["asha", "median"])
def test_epoch_0_is_not_judged_without_a_promise(name: str) -> None:
    ended = {f"e{n}": Past([EpochReport(epoch=0, val_accuracy=0.9, val_loss=1.0, seconds=1.0)], {}) for n in range(4)}
    fed = Fed(name, ended=ended).add("a1", "a2", "a3", "a4")
    for trial, value in (("a1", 0.1), ("a2", 0.2), ("a3", 0.3)):
        assert fed.hear(trial, 0, value) == CONTINUE
    assert fed.hear("a4", 0, 0.05) == STOP
    result = to_tune(EpochReport(epoch=0, val_accuracy=0.0, val_loss=1.0, seconds=1.0))
    fed.add("a5")
    assert fed.scheduler.on_trial_result(None, fed.trials["a5"], result) == CONTINUE


@pytest.mark.parametrize("goals", [ONE, (*TWO, "params")])
@pytest.mark.parametrize("name", ["asha", "median"])
@pytest.mark.parametrize("first", [0, 1, 7, 20])  # trials of an earlier run
def test_a_continued_search_decides_as_one_that_was_never_stopped(name: str, first: int, goals: Sequence[str]) -> None:
    random = np.random.default_rng(first)
    runs = {f"a{n}": Run(np.sort(random.uniform(size=9)), random_costs(random, goals)) for n in range(40)}
    whole = Fed(name, goals=goals)
    lengths = {trial: run.to_its_end(whole.add(trial), trial) for trial, run in runs.items()}
    earlier = {trial: runs[trial].past(lengths[trial]) for trial in list(runs)[:first]}
    rest = Fed(name, ended=earlier, goals=goals)
    again = {trial: run.to_its_end(rest.add(trial), trial) for trial, run in list(runs.items())[first:]}
    assert again == dict(list(lengths.items())[first:])
    assert len(set(lengths.values())) > 1  # some were stopped


def random_costs(random: np.random.Generator, goals: Sequence[str]) -> dict[str, float]:
    return {goal: float(random.uniform()) for goal in goals[1:]}


@dataclass(frozen=True, eq=False)
class Run:
    """A trial as it would go if nothing stopped it."""

    curve: Any
    costs: Mapping[str, float]

    def to_its_end(self, fed: Fed, trial: str) -> int:
        """Report epochs until the trial is stopped or final; return their number."""
        for epoch, value in enumerate(self.curve):
            if fed.hear(trial, epoch, float(value), epoch == len(self.curve) - 1, **self.costs) == STOP:
                return epoch + 1
        return len(self.curve)

    def past(self, epochs: int) -> Past:
        """Return what a later run knows after so many epochs."""
        last = len(self.curve) - 1
        return Past([epoch_report(n, float(self.curve[n]), n == last) for n in range(epochs)], self.costs)


@pytest.mark.parametrize("name", ["asha", "median"])
def test_reinitialised_weights_are_not_compared_before_they_have_learnt(name: str) -> None:
    fed = Fed(name, first_epoch=1).add("a1", "a2", "a3", "a4")
    for trial, accuracy in (("a1", 0.1), ("a2", 0.2), ("a3", 0.3), ("a4", 0.0)):
        assert fed.hear(trial, 0, accuracy) == CONTINUE
    for trial in ("a1", "a2", "a3"):
        assert fed.hear(trial, 1, 0.5) == CONTINUE
    assert fed.hear("a4", 1, 0.49) == STOP


@pytest.mark.parametrize("recovery", sorted(RECOVERIES))
def test_only_recoveries_from_scratch_are_first_compared_at_epoch_1(recovery: str) -> None:
    trial = SimpleNamespace(config={"spec": TrialSpec(recovery=recovery).model_dump_json()})
    assert first_epoch_of(trial) == (1 if "scratch" in recovery else 0)


def test_asha_of_two_goals_keeps_the_best_third_by_rank_and_crowding() -> None:
    """Worked by hand; points are (promise or accuracy, macs), and d their crowding distance."""
    fed = Fed("asha", goals=TWO).add(*(f"a{n}" for n in range(1, 8)))
    assert fed.hear("a1", 0, 0.5, macs=0.5) == CONTINUE  # the first trial at this rung
    assert fed.hear("a2", 0, 0.9, macs=0.9) == CONTINUE  # neither dominates, and both are ends
    assert fed.hear("a3", 0, 0.4, macs=0.6) == STOP  # a1 dominates it, so two of three are ahead
    assert fed.hear("a4", 0, 0.1, macs=0.1) == CONTINUE  # front a1, a2, a4; a4 is an end
    # front a1, a2, a4, a5. a5 has d = (0.9 - 0.5) / 0.8 + (0.9 - 0.5) / 0.8 = 1.0; a1 has 0.5 / 0.8 + 0.5 / 0.8 = 1.25,
    # and the ends are further still: three of five are ahead
    assert fed.hear("a5", 0, 0.6, macs=0.6) == STOP
    assert fed.hear("a6", 0, 1.0, macs=0.05) == CONTINUE  # dominates all
    assert fed.hear("a7", 0, 0.95, macs=0.06) == CONTINUE  # only a6 is ahead: one of seven
    assert fed.hear("a1", 1, 0.0, macs=0.5) == CONTINUE  # no rung
    assert fed.hear("a6", 2, 0.8, macs=0.05) == CONTINUE
    assert fed.hear("a1", 2, 0.8, macs=0.5) == STOP  # dominated at the rung of epoch 2


def test_goals_keep_the_direction_of_the_metric() -> None:
    fed = Fed("asha", 1, metric=MetricSpec(name="perplexity", higher_is_better=False), goals=TWO).add("a1", "a2", "a3")
    assert fed.hear("a1", 1, 8.0, macs=0.5) == CONTINUE
    assert fed.hear("a2", 1, 7.0, macs=0.4) == CONTINUE
    assert fed.hear("a3", 1, 9.0, macs=0.6) == STOP


def test_the_median_rule_of_two_goals_stops_what_ranks_behind_more_than_half() -> None:
    fed = Fed("median", goals=TWO).add("a1", "a2", "a3", "a4", "a5", "a6")
    for name, promise, macs in (("a1", 0.2, 0.2), ("a2", 0.5, 0.5), ("a3", 0.8, 0.8)):  # the rule needs three others
        assert fed.hear(name, 0, promise, macs=macs) == CONTINUE
    assert fed.hear("a4", 0, 0.19, macs=0.9) == STOP  # all three dominate it
    assert fed.hear("a5", 0, 0.49, macs=0.5) == STOP  # behind the front of a1, a2, a3
    assert fed.hear("a6", 0, 0.6, macs=0.4) == CONTINUE  # dominates a2
    for name, accuracy, macs in (("a1", 0.3, 0.2), ("a2", 0.6, 0.5), ("a3", 0.9, 0.8)):
        assert fed.hear(name, 1, accuracy, macs=macs) == CONTINUE
    assert fed.hear("a6", 1, 0.29, macs=0.4) == STOP


@pytest.mark.parametrize("name", ["asha", "median", "hyperband"])
def test_a_trial_whose_costs_are_unknown_is_not_judged(name: str) -> None:
    fed = Fed(name, goals=TWO).add(*(f"a{n}" for n in range(9)))
    assert [fed.hear(f"a{n}", 0, 0.9 - n / 10) for n in range(9)] == [CONTINUE] * 9


def test_hyperband_of_two_goals_starts_some_trials_later() -> None:
    """If each trial is dominated by the one before, only the first trials of each first rung are left."""
    fed = Fed("hyperband", goals=TWO)
    left = [f"a{n}" for n in range(200)]
    fed.add(*left)
    stopped = {}
    for epoch in range(10):
        told = {name: fed.hear(name, epoch, 0.9 - int(name[1:]) / 1000, macs=int(name[1:]) / 1000) for name in left}
        left = [name for name in left if told[name] == CONTINUE]
        stopped[epoch] = len(told) - len(left)
    assert {epoch for epoch, count in stopped.items() if count} == {0, 2, 8}
    assert stopped[0] > stopped[2] > stopped[8]
    assert len(left) <= 3
