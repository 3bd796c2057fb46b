"""The contract of a sampler and of a scheduler of the user's own, checked on a made-up search."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search.methods.samplers import sampler
from search.methods.schedulers import AGE, PROMISED, scheduler
from trainables.catalog import contract
from trainables.catalog.contract_rules import called, must, short
from trainables.counts import quantity
from trainables.plugins import FunctionKind
from trainables.trial.reports import METRIC

TRIALS, EPOCHS = 16, 9
AT_ONCE = 3  # trials that run
DENSITIES = ("block1", "block2", "block3")

_called = partial(called, on="a made-up search")


def check_function(kind: FunctionKind, name: str, goals: Sequence[str] = (METRIC,)) -> list[str]:
    """Run a function of the user's own as trials or searches do. Return lines about what held.

    goals: of the search. Raises ValueError that names the rule, the value and what to change.
    """
    if kind == "sampler":
        return list(check_sampler(name, len(goals)))
    if kind == "scheduler":
        return list(check_scheduler(name, goals))
    return contract.check_function(kind, name)


def check_sampler(name: str, goals: int = 1) -> Iterator[str]:
    """Let a sampler propose densities, and a sparsity if there are several goals. Tell it how its proposals end.

    Yields lines about what held. Raises ValueError that names the rule, the value and what to change.
    """
    first, again = (_proposals(name, goals) for _ in range(2))
    must(
        first[0] == again[0],
        f"sampler {name!r} must propose the same for a seed, but first gives {short(first[0])}, then "
        f"{short(again[0])}; hand the seed on",
    )
    different = len({tuple(params.items()) for params in first})
    must(
        different >= TRIALS // 2,
        f"sampler {name!r} must propose new points, but gives {different} different ones in {TRIALS} proposals; "
        "let it draw from the whole space",
    )
    yield f"{TRIALS} proposals for {quantity(goals, 'goal')}, {different} of them different"


def check_scheduler(name: str, goals: Sequence[str] = (METRIC,)) -> Iterator[str]:
    """Let a scheduler hear the epochs of trials of different accuracy, as in a search.

    Yields lines about what held. Raises ValueError that names the rule, the value and what to change.
    """
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import TrialScheduler

    made = _called(name, scheduler(name), goals, EPOCHS)
    must(
        isinstance(made, TrialScheduler),
        f"scheduler {name!r} must return a scheduler of Ray Tune (ray.tune.schedulers.TrialScheduler), but returned "
        f"{short(made)}; return one",
    )
    running = {number: Trial("check", trial_id=str(number), stub=True) for number in range(TRIALS)}
    for trial in running.values():
        _called(name, made.on_trial_add, None, trial)
    for age in range(1, EPOCHS + 1):
        for number, trial in list(running.items()):
            quality = 7 * number % TRIALS / TRIALS  # no better or worse with the number
            result = {METRIC: 0.9 * quality + 0.1 * age / EPOCHS, AGE: age, PROMISED: age == 1}
            result |= {"params": 0.5, "macs": 1 - quality / 2, "latency_ms": 1.0}
            told = _called(name, made.on_trial_result, None, trial, result) if age < EPOCHS else TrialScheduler.CONTINUE
            must(
                told in (TrialScheduler.CONTINUE, TrialScheduler.STOP),
                f"scheduler {name!r} must answer {TrialScheduler.CONTINUE} or {TrialScheduler.STOP}, as no trial of a "
                f"search waits for others, but answered {short(told)}; use a scheduler that never pauses",
            )
            if told == TrialScheduler.STOP or age == EPOCHS:
                _called(name, made.on_trial_complete, None, trial, result)
            if told == TrialScheduler.STOP:
                del running[number]
    yield f"{TRIALS} trials of {EPOCHS} epochs heard, {TRIALS - len(running)} of them stopped"


def _proposals(name: str, goals: int) -> list[dict[str, Any]]:
    """Ask for proposals, three at a time; most complete, some are pruned, some fail."""
    made = _called(name, sampler(name).make, 0, TRIALS)
    must(
        isinstance(made, BaseSampler),
        f"sampler {name!r} must return a sampler of Optuna (optuna.samplers.BaseSampler), but returned {short(made)}; "
        "return one",
    )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, BaseDistribution] = {part: FloatDistribution(0.001, 1.0) for part in DENSITIES}
    if goals > 1:
        space["sparsity"] = CategoricalDistribution([0.5, 0.8])
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * (goals - 1)]
    study = optuna.create_study(directions=directions, sampler=made)
    running: list[optuna.Trial] = []
    for number in range(TRIALS):
        running.append(_called(name, study.ask, space))
        if len(running) == AT_ONCE:
            _tell(study, running.pop(0), number, name)
    return [dict(trial.params) for trial in study.get_trials(deepcopy=False)]


def _tell(study: optuna.Study, trial: optuna.Trial, number: int, name: str) -> None:
    state = {4: TrialState.PRUNED, 5: TrialState.FAIL}.get(number % 6, TrialState.COMPLETE)
    goals = len(study.directions)
    if state == TrialState.PRUNED and goals == 1:
        trial.report(0.1, 0)
    densities = [trial.params[part] for part in DENSITIES]
    values = [float(np.mean(densities)), *[float(np.prod(densities))] * (goals - 1)]
    _called(name, study.tell, trial, values if state == TrialState.COMPLETE else None, state)
