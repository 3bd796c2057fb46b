"""What Optuna is told about a trial, and whether it has been told."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from optuna.storages import BaseStorage
from optuna.trial import TrialState

from search.results.constraints import conditions, value_of
from search.results.rows import TrialRow
from search.searching.journal import KEY
from search.searching.search_history import SearchHistory

POLICY, ERROR = "policy", "error"  # Optuna's user attributes of a trial, beside KEY
SAME = "same_network_as"  # the same of a proposal that was not run: key of the trial that has its network
STATES = {"done": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class OptunaResult(NamedTuple):
    """State of a trial; one value for each goal if the trial is complete; the reason if it failed."""

    state: TrialState
    values: list[float] | None = None
    violations: Mapping[str, float] = MappingProxyType({})  # by constraint; 0 or less where it holds
    error: str = ""


def result_of(row: TrialRow, goals: Sequence[str], constraints: Sequence[str]) -> OptunaResult:
    """Look up the goals and constraints of a trial; a trial without one of them counts as failed."""
    if row.status != "done":
        return OptunaResult(STATES[row.status], error=row.error)
    bounds = conditions(constraints, [])
    values = [value_of(row, name) for name in (*goals, *(bound.name for bound in bounds))]
    numbers = [float(value) for value in values if value is not None and math.isfinite(float(value))]
    if len(numbers) < len(values):
        return OptunaResult(TrialState.FAIL, error="a goal or a constraint is not a finite number")
    violations = {
        text: (value - float(bound.bound)) * (1 if bound.operator in ("<=", "<") else -1)
        for text, bound, value in zip(constraints, bounds, numbers[len(goals) :], strict=True)
    }
    return OptunaResult(TrialState.COMPLETE, numbers[: len(goals)], violations)


def is_recorded(history: SearchHistory, storage: BaseStorage) -> bool:
    """Tell whether Optuna's journal knows how the proposals of earlier runs ended."""
    try:
        trials = storage.get_all_trials(storage.get_study_id_from_name(history.name), deepcopy=False)
    except KeyError:
        return False
    ended = {trial.user_attrs.get(KEY) for trial in trials if trial.state.is_finished()}
    return {row.trial for row in history.earlier} <= ended and all(trial.state.is_finished() for trial in trials)
