"""The contract of a sampler and of a scheduler of the user's own, checked on a search that is made up."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search.methods.samplers import sampler
from search.methods.schedulers import AGE, PROMISED, scheduler
from trainables.trial.reports import METRIC

TRIALS, EPOCHS = 16, 9
AT_ONCE = 3  # trials that run
DENSITIES = ("block1", "block2", "block3")


def check_sampler(name: str, goals: int = 1) -> Iterator[str]:
    """Let a sampler propose densities, with several goals a sparsity, too, and tell it how its proposals end.

    Yields lines about what held. Raises ValueError that names the rule, the value and what to change.
    """
    first, again = (_proposals(name, goals) for _ in range(2))
    if first[0] != again[0]:
        raise ValueError(
            f"sampler {name!r} must propose the same for a seed, but first gives {_short(first[0])}, then "
            f"{_short(again[0])}; hand the seed on"
        )
    different = len({tuple(params.items()) for params in first})
    if different < TRIALS // 2:
        raise ValueError(
            f"sampler {name!r} must propose new points, but gives {different} different ones in {TRIALS} proposals; "
            "let it draw from the whole space"
        )
    yield f"{TRIALS} proposals for {goals} goal{'s' * (goals > 1)}, {different} of them different"


def check_scheduler(name: str, goals: Sequence[str] = (METRIC,)) -> Iterator[str]:
    """Let a scheduler hear trials of different accuracy, epoch by epoch, as searches do.

    Yields lines about what held. Raises ValueError that names the rule, the value and what to change.
    """
    from ray.tune.experiment import Trial
    from ray.tune.schedulers import TrialScheduler

    made = _called(name, scheduler(name), goals, EPOCHS)
    if not isinstance(made, TrialScheduler):
        raise ValueError(
            f"scheduler {name!r} must return a scheduler of Ray Tune (ray.tune.schedulers.TrialScheduler), but "
            f"returned {_short(made)}; return one"
        )
    running = {number: Trial("check", trial_id=str(number), stub=True) for number in range(TRIALS)}
    for trial in running.values():
        _called(name, made.on_trial_add, None, trial)
    for age in range(1, EPOCHS + 1):
        for number, trial in list(running.items()):
            quality = 7 * number % TRIALS / TRIALS  # of later trials neither higher nor lower
            result = {METRIC: 0.9 * quality + 0.1 * age / EPOCHS, AGE: age, PROMISED: age == 1}
            result |= {"params": 0.5, "macs": 1 - quality / 2, "latency_ms": 1.0}
            told = _called(name, made.on_trial_result, None, trial, result) if age < EPOCHS else TrialScheduler.CONTINUE
            if told not in (TrialScheduler.CONTINUE, TrialScheduler.STOP):
                raise ValueError(
                    f"scheduler {name!r} must answer {TrialScheduler.CONTINUE} or {TrialScheduler.STOP}, as no trial "
                    f"of a search waits for others, but answered {_short(told)}; use a scheduler that never pauses"
                )
            if told == TrialScheduler.STOP or age == EPOCHS:
                _called(name, made.on_trial_complete, None, trial, result)
            if told == TrialScheduler.STOP:
                del running[number]
    yield f"{TRIALS} trials of {EPOCHS} epochs heard, {TRIALS - len(running)} of them stopped"


def _proposals(name: str, goals: int) -> list[dict[str, Any]]:
    """Ask for proposals, three at a time; most complete, some are pruned, some fail."""
    made = _called(name, sampler(name).make, 0, TRIALS)
    if not isinstance(made, BaseSampler):
        raise ValueError(
            f"sampler {name!r} must return a sampler of Optuna (optuna.samplers.BaseSampler), but returned "
            f"{_short(made)}; return one"
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


def _called(name: str, function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of the user's own, or a method of what it made; a failure is a ValueError that names it."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(
            f"{name} must run on a search that is made up, but failed with {type(error).__name__}: {error}; correct it"
        ) from error


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."
