"""The inputs of criteria and policies: the network, calibration samples and shared artifacts, and their cost."""

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
    evaluations: int = 0  # passes of all samples through the network so far, as in `Cost`

    def all_images(self) -> Tensor:
        """Return all images. Counts one evaluation."""
        self.evaluations += 1
        return self.images

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all samples in order, `size` at a time: (images, labels). Counts one evaluation."""
        self.evaluations += 1
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True, eq=False)
class PruningContext:
    """A trained network at one granularity, the seed of all draws, and the inputs that were asked for."""

    prunable: Prunable
    seed: int = 0
    calibration: Calibration | None = None
    shared: Mapping[Source, Any] = field(default_factory=dict)  # artifacts of the dense network that trials share

    @property
    def samples(self) -> Calibration:
        """The calibration samples. The criterion or policy must list "samples" in its inputs."""
        assert self.calibration is not None, "'samples' must be in the inputs of a criterion or policy that reads it"
        return self.calibration

    def artifact(self, source: Source) -> Any:
        """Return a shared artifact. The criterion or policy must list it in its inputs."""
        assert source in self.shared, f"{source!r} must be in the inputs of a criterion or policy that reads it"
        return self.shared[source]


class Meter:
    """Measures time and evaluations on calibration samples, from its construction on."""

    def __init__(self, samples: Calibration | None) -> None:
        self._samples = samples
        self._evaluations_before = samples.evaluations if samples else 0
        self._started = time.perf_counter()

    def read(self) -> Cost:
        """Return the cost so far; without samples, evaluations and images are 0."""
        seconds = time.perf_counter() - self._started
        if self._samples is None:
            return Cost(seconds=seconds, evaluations=0, images=0)
        evaluations = self._samples.evaluations - self._evaluations_before
        return Cost(seconds=seconds, evaluations=evaluations, images=evaluations * len(self._samples.labels))
