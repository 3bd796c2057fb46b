"""How a metric is shown, and which of two values is better. Accuracy is a fraction that is shown in percent."""

import math
from dataclasses import dataclass
from typing import Protocol

from trainables.counts import quantity
from trainables.task_spec import MetricSpec

ACCURACY = MetricSpec().name


class Judged(Protocol):
    """A result that a metric judges."""

    @property
    def metric(self) -> str:
        """Name of the metric."""

    @property
    def higher_is_better(self) -> bool:
        """The direction of the metric."""


@dataclass(frozen=True)
class Scale:
    """How values of a metric are written."""

    metric: str
    factor: float = 1.0
    digits: int = 3
    unit: str = ""  # behind a number
    points: str = ""  # unit of differences, behind a number
    length: float = math.inf  # of the scale as shown; an interval that is longer excludes nothing

    def text(self, value: float | None, more_digits: int = 0) -> str:
        """Write a value with its unit; an empty text for None."""
        return "" if value is None else f"{self.number(value, more_digits)}{self.unit}"

    def number(self, value: float, more_digits: int = 0, signed: bool = False) -> str:
        """Write a value without its unit."""
        return f"{self.factor * value:{'+' * signed}.{self.digits + more_digits}f}"

    def difference(self, value: float) -> str:
        """Write a difference that a user gave: "0.3 points", "0.05"."""
        return " ".join(filter(None, (f"{self.factor * value:g}", self.points)))

    @property
    def axis(self) -> str:
        """The metric as a label of an axis or the head of a column: "accuracy (%)", "r2"."""
        return f"{self.metric} ({self.unit.strip()})" if self.unit else self.metric

    @property
    def title(self) -> str:
        """The metric in the title of a table: "accuracy in %", "r2"."""
        return f"{self.metric} in {self.unit.strip()}" if self.unit else self.metric

    @property
    def ahead(self) -> str:
        """The unit of differences in a title: "accuracy in points", "r2"."""
        return f"{self.metric} in {self.points}" if self.points else self.metric

    @property
    def falls(self) -> str:
        """Say before its size that the metric falls: "accuracy falls by", "perplexity is worse by"."""
        return f"{self.metric} {'falls' if self.points else 'is worse'} by"

    def fall(self, points: int, dense: float) -> float:
        """Return a fall by so many points; of another metric than accuracy, by so many % of its dense value."""
        return points / 100 * (1.0 if self.points else abs(dense))

    def fallen(self, points: str) -> str:
        """Say how far the metric falls: "accuracy falls by 1, 2 or 5 points", "perplexity is worse by 1, 2 or 5 %"."""
        return f"{self.falls} {points} {self.points or '%'}"

    def step(self, points: int) -> str:
        """Name a fall in the head of a column: "5 points", "5 %"."""
        return quantity(points, "point") if self.points else f"{points} %"


PERCENT = Scale(ACCURACY, 100.0, 1, " %", "points", 100.0)


def scale_of(metric: str) -> Scale:
    """Return how a metric is written."""
    return PERCENT if metric == ACCURACY else Scale(metric)


def sign_of(result: Judged) -> float:
    """Return what a value is multiplied by so that higher is better."""
    return MetricSpec(higher_is_better=result.higher_is_better).sign


class Reached(Judged, Protocol):
    """A result with the value of its metric."""

    @property
    def best_val_accuracy(self) -> float | None:
        """The value of the best epoch; None if there is none."""


def rank(result: Reached) -> float:
    """Return the value of a result, turned so that higher is better; a result without a value is the worst."""
    value = result.best_val_accuracy
    return -math.inf if value is None else sign_of(result) * value


def public_name(name: str, metric: str) -> str:
    """Name a field as columns, JSON and MLflow do: "best_val_accuracy" is "best_val_r2" where the metric is r2."""
    head, found, rest = name.partition(ACCURACY)
    return name if metric == ACCURACY or not found or head[-1:] not in ("", "_") else f"{head}{metric}{rest}"
