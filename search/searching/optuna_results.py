"""What Optuna is told of a trial that has ended."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from optuna.trial import TrialState

from search.results.constraints import conditions, value_of
from search.results.rows import TrialRow

STATES = {"done": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class Verdict(NamedTuple):
    """State, one value for each goal where there are any, and why there are none where the trial failed."""

    state: TrialState
    values: list[float] | None = None
    constraints: Mapping[str, float] = MappingProxyType({})  # by how much each bound is broken; kept at zero or less
    error: str = ""


def judged(row: TrialRow, goals: Sequence[str], constraints: Sequence[str]) -> Verdict:
    """Look goals and constraints up; a trial that lacks one, or failed, is no point of any search."""
    if row.status != "done":
        return Verdict(STATES[row.status], error=row.error)
    bounds = conditions(constraints, [])
    found = [value_of(row, name) for name in (*goals, *(bound.name for bound in bounds))]
    numbers = [float(value) for value in found if value is not None and math.isfinite(float(value))]
    if len(numbers) < len(found):
        return Verdict(TrialState.FAIL, error="a goal or a constraint is not a finite number")
    limits = zip(constraints, bounds, numbers[len(goals) :], strict=True)
    broken = {
        text: (value - float(bound.bound)) * (1 if bound.sign in ("<=", "<") else -1) for text, bound, value in limits
    }
    return Verdict(TrialState.COMPLETE, numbers[: len(goals)], broken)
