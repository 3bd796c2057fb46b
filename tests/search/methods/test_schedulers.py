"""Schedulers: each search has its own, named policies are never stopped. test_variants runs a study under one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from search.methods.schedulers import Past
from search.running.tuner import first_epoch_of
from tests.search.methods.feeding import CONTINUE, ONE, STOP, TWO, Fed, epoch_report
from trainables.spec import EpochReport, TrialSpec
from trainables.task_spec import MetricSpec
from trainables.training.recovery import RECOVERIES
from trainables.trial.reports import TrialFailed, to_tune


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
