"""The inputs of criteria and policies: the network, calibration samples and shared artifacts, and their cost."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainables.arguments import Arguments, samples_in, take
from trainables.names import Source
from trainables.outcome import Cost
from trainables.pruning.granularity import Prunable
from trainables.task.classification import CLASSIFICATION
from trainables.task.objective import Objective


@dataclass(eq=False)
class Calibration:
    """A few training samples in one batch, on the network's device."""

    content: Any  # as the objective reads it: images (N, C, H, W), normalised as for training, and labels (N,) int64
    objective: Objective = CLASSIFICATION
    evaluations: int = 0  # passes of all samples through the network so far, as in `Cost`

    def __len__(self) -> int:
        return samples_in(self.inputs)

    @property
    def inputs(self) -> Arguments:
        """What the network is called with, (N, ...): the images."""
        return self.objective.inputs(self.content)

    @property
    def images(self) -> Tensor:
        """The inputs, for functions that prune classifiers of images."""
        assert isinstance(self.inputs, Tensor)
        return self.inputs

    def all_inputs(self) -> Arguments:
        """Return the inputs of all samples. Counts one evaluation."""
        self.evaluations += 1
        return self.inputs

    def all_images(self) -> Tensor:
        """Do the same, for functions that prune classifiers of images."""
        self.evaluations += 1
        return self.images

    def batches(self, size: int) -> Iterator[Any]:
        """Yield all samples in order, `size` at a time, as the objective reads them. Counts one evaluation."""
        self.evaluations += 1
        return (take(self.content, slice(start, start + size)) for start in range(0, len(self), size))

    def inputs_of(self, size: int) -> Iterator[Arguments]:
        """Yield the inputs of all samples in order, `size` at a time. Counts one evaluation."""
        return map(self.objective.inputs, self.batches(size))


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
        return Cost(seconds=seconds, evaluations=evaluations, images=evaluations * len(self._samples))
