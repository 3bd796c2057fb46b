"""A network about to be pruned, what may be looked at while deciding what goes, and how often that was."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainables.names import Source
from trainables.outcome import Cost
from trainables.pruning.granularity import Prunable


@dataclass(eq=False)
class Calibration:
    """A few training samples, on the network's device."""

    images: Tensor  # (N, C, H, W), normalised as for training
    labels: Tensor  # (N,) int64
    evaluations: int = 0  # of the network on all of them, so far, as in `Cost`

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all samples in order, `size` at a time, for one evaluation."""
        self.evaluations += 1
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True, eq=False)
class PruningContext:
    """A trained network at one granularity, the seed of all draws, and what was asked to be looked at."""

    prunable: Prunable
    seed: int = 0
    calibration: Calibration | None = None
    shared: Mapping[Source, Any] = field(default_factory=dict)  # what trials share, measured on the dense network

    @property
    def samples(self) -> Calibration:
        """The calibration samples, where they were asked for."""
        assert self.calibration is not None, "whoever looks at calibration samples says so in its table"
        return self.calibration

    def look(self, source: Source) -> Any:
        """What trials share of this kind, where it was asked for."""
        assert source in self.shared, f"whoever looks at {source} says so in its table"
        return self.shared[source]


class Meter:
    """What is spent from here on: time, and evaluations on calibration samples where there are any."""

    def __init__(self, samples: Calibration | None) -> None:
        self._samples = samples
        self._before = samples.evaluations if samples else 0
        self._started = time.perf_counter()

    def read(self) -> Cost:
        """What was spent so far."""
        seconds = time.perf_counter() - self._started
        if self._samples is None:
            return Cost(seconds=seconds, evaluations=0, images=0)
        evaluations = self._samples.evaluations - self._before
        return Cost(seconds=seconds, evaluations=evaluations, images=evaluations * len(self._samples.labels))
