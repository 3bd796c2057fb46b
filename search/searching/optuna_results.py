"""What Optuna is told about a trial, and whether it has been told."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from optuna.storages import BaseStorage
from optuna.trial import TrialState

from search.methods.samplers import STOPPED_AT
from search.results.constraints import conditions, value_of
from search.results.rows import TrialRow
from search.searching.journal import KEY
from search.searching.search_history import SearchHistory

POLICY, ERROR = "policy", "error"  # Optuna's user attributes of a trial, beside KEY
SAME = "same_network_as"  # the same of a proposal that was not run: key of the trial that has its network
NOTES = (ERROR, STOPPED_AT)  # the same about a trial's end: why it failed, or what several goals had reached
STATES = {"done": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class OptunaResult(NamedTuple):
    """State of a trial, one value for each goal if the trial is complete, and Optuna's user attributes about its end.

    A pruned trial of several goals has no values, so that only networks that were trained to their end are on a front.
    What such a trial had reached is an attribute.
    """

    state: TrialState
    values: list[float] | None = None
    violations: Mapping[str, float] = MappingProxyType({})  # by constraint; 0 or less where it holds
    notes: Mapping[str, Any] = MappingProxyType({})  # of `NOTES`


def result_of(row: TrialRow, goals: Sequence[str], constraints: Sequence[str]) -> OptunaResult:
    """Look up the goals and constraints of a trial; a trial that ended without one of them counts as failed."""
    state = STATES[row.status]
    if state == TrialState.FAIL:
        return OptunaResult(state, notes={ERROR: row.error} if row.error else {})
    bounds = conditions(constraints, [])
    values = [value_of(row, name) for name in (*goals, *(bound.name for bound in bounds))]
    numbers = [float(value) for value in values if value is not None and math.isfinite(float(value))]
    if len(numbers) < len(values):
        if state == TrialState.PRUNED:  # before its first checkpoint
            return OptunaResult(state)
        return OptunaResult(TrialState.FAIL, notes={ERROR: "a goal or a constraint is not a finite number"})
    violations = {
        text: (value - float(bound.bound)) * (1 if bound.operator in ("<=", "<") else -1)
        for text, bound, value in zip(constraints, bounds, numbers[len(goals) :], strict=True)
    }
    reached = numbers[: len(goals)]
    if state == TrialState.PRUNED:
        return OptunaResult(state, None, violations, {STOPPED_AT: reached} if len(goals) > 1 else {})
    return OptunaResult(state, reached, violations)


def is_recorded(history: SearchHistory, storage: BaseStorage) -> bool:
    """Tell whether Optuna's journal knows how the proposals of earlier runs ended."""
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name(history.name), deepcopy=False)
    except KeyError:
        return False
    ended = {trial.user_attrs.get(KEY) for trial in trials if trial.state.is_finished()}
    return {row.trial for row in history.earlier} <= ended and all(trial.state.is_finished() for trial in trials)
