"""The setting `task` of a study, which the data carry: they come from it."""

from collections.abc import Mapping
from typing import Any

from trainables.data_spec import DataSpec


def task_of_the_data(values: Any) -> Any:
    """Hand a study's setting `task` to its data. Values of a wrong type are left for their own errors."""
    if not isinstance(values, Mapping) or not isinstance(values.get("task"), str) or not values["task"]:
        return values
    data = values.get("data", {})
    data = data.model_dump() if isinstance(data, DataSpec) else data
    known = data.get("task", {}) if isinstance(data, Mapping) else None
    if not isinstance(known, Mapping):
        return values
    return {**values, "data": {**data, "task": {**known, "function": values["task"]}}}
