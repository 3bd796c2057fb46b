"""Constraints on trials and the metric that ranks them, by the names that --where and --metric take."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from search.results.rows import TrialRow
from search.results.scale import ACCURACY, public_name, sign_of
from trainables.lookup import did_you_mean

FRACTIONS = {  # of the dense network
    "params": ("params_kept", "params_total"),
    "macs": ("macs_kept", "macs_total"),
    "latency": ("latency_ms", "dense_latency_ms"),
}
COLUMNS = {name: field.annotation for name, field in TrialRow.model_fields.items()}
NUMBERS = [*FRACTIONS, *(n for n, kind in COLUMNS.items() if kind in (int, float, int | None, float | None))]
TEXTS = [name for name, kind in COLUMNS.items() if name not in NUMBERS and kind != dict[str, float]]
METRICS = [name for name in NUMBERS if name not in ("seed", "width", "best_epoch")]
OTHER = "other_metrics."  # and the name of one of the task's other metrics
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Condition:
    """One constraint, as "sparsity>=0.9" or "recovery==finetune"."""

    name: str
    operator: str  # one of `COMPARE`
    bound: float | str
    public: str  # the name as the user wrote it

    def holds(self, value: float | str | None) -> bool:
        """Tell whether a value meets the constraint; a missing value does not."""
        return value is not None and COMPARE[self.operator](value, self.bound)


def conditions(where: Sequence[str], rows: Sequence[TrialRow]) -> list[Condition]:
    """Read constraints. Raises ValueError for an unknown column, and for a text that no row has."""
    return [_condition(text, rows) for text in where]


def ranking_field(metric: str, rows: Sequence[TrialRow]) -> str:
    """Find the field that ranks networks. Raises ValueError for a name that cannot rank them."""
    if (found := field_of(metric, rows)) not in METRICS:
        raise did_you_mean("--metric", metric, _shown(METRICS, rows))
    return found


def _shown(names: Sequence[str], rows: Sequence[TrialRow]) -> list[str]:
    return [public_name(name, rows[0].metric) if rows else name for name in names]


def value_of(row: TrialRow, name: str) -> float | str | None:
    """Return the value of a column; "params", "macs" and "latency" are fractions of the dense network."""
    if name.startswith(OTHER):
        return row.other_metrics.get(name.removeprefix(OTHER))
    if name not in FRACTIONS:
        value: float | str | None = getattr(row, name)
        return value
    kept, total = (getattr(row, field) for field in FRACTIONS[name])
    return kept / total if total else None


def penalty(row: TrialRow, name: str, value: float) -> float:
    """Turn a number of a trial into a penalty (lower is better).

    A high accuracy is good, or whatever its metric prefers, and so is a high sparsity; other numbers are costs.
    """
    if name.endswith(ACCURACY):
        return -sign_of(row) * value
    return -value if name == "sparsity" else value


def field_of(name: str, rows: Sequence[TrialRow]) -> str:
    """Find the field behind a public name: "best_val_r2" is `best_val_accuracy` where r2 judges the trials."""
    public = {public_name(field, row.metric): field for row in rows[:1] for field in COLUMNS}
    return public.get(name, name)


def _condition(text: str, rows: Sequence[TrialRow]) -> Condition:
    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(.*\S)\s*", text)
    if not match:
        raise ValueError(f"--where must be like 'sparsity>=0.9' or 'policy==lamp', but got {text!r}")
    public, comparison, bound = match.groups()
    others = {
        public_name("best_val_accuracy", metric): f"{OTHER}{metric}" for row in rows for metric in row.other_metrics
    }
    name = others.get(public) or field_of(public, rows)
    if name in TEXTS:
        if comparison not in ("==", "!="):
            raise ValueError(f"--where must compare the text {name} by == or !=, but got {text!r}")
        known = {str(value_of(row, name)) for row in rows}
        if bound not in known:
            raise did_you_mean(name, bound, known)
        return Condition(name, comparison, bound, public)
    if name not in (*NUMBERS, *others.values()):
        raise did_you_mean("--where", public, [*_shown([*NUMBERS, *TEXTS], rows), *others])
    try:
        number = float(bound)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"--where must compare {public} with a number, but got {text!r}")
    return Condition(name, comparison, number, public)
