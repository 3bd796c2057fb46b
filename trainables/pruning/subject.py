"""A network about to be pruned, and what may be looked at while deciding what goes."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trainables.pruning.granularity import Prunable


@dataclass(frozen=True, eq=False)
class Calibration:
    """A few training samples, on the network's device."""

    images: Tensor  # (N, C, H, W), normalised as for training
    labels: Tensor  # (N,) int64

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all samples in order, `size` at a time."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network at one granularity, the seed of all draws, and the samples that may be looked at."""

    prunable: Prunable
    seed: int = 0
    calibration: Calibration | None = None  # only for criteria and policies that ask for it

    @property
    def samples(self) -> Calibration:
        """The calibration samples, where they were asked for."""
        assert self.calibration is not None, "whoever asks for calibration samples says so in its table"
        return self.calibration
