"""A metric: what judges a network on a split, exactly, whatever the sizes of the batches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainables.task_spec import MetricSpec


def ratio(totals: Tensor) -> float:
    """Divide the first total by the second: the mean of what the first one adds up."""
    total, count = totals.tolist()
    return float(total / count)


@dataclass(frozen=True)
class Metric:
    """A function of sums that add up over samples: over batches of any size, and over workers.

    A mean of the batches' values would weigh the samples of a small batch more, and is no R2 and no mean IoU at all.
    """

    name: str  # as columns, axes and tables have it: a lower-case word
    sums: Callable[[Tensor, Any], Tensor]  # outputs and batch -> (sums,), of its samples
    value: Callable[[Tensor], float] = ratio  # totals (sums,) over all samples, float64 on the CPU -> the metric
    higher_is_better: bool = True

    @property
    def spec(self) -> MetricSpec:
        """What settings and results say of the metric."""
        return MetricSpec(name=self.name, higher_is_better=self.higher_is_better)
