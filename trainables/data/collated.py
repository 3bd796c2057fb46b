"""A split of a task of the user's own, as training and evaluation read it."""

from collections.abc import Iterator, Sequence
from operator import methodcaller
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.arguments import each
from trainables.data.batches import WHOLE_BATCH, Augment, Resident
from trainables.data.samples import Samples
from trainables.data.splits import Split, Splits, TaskSplits
from trainables.data.types import Integers
from trainables.task.objective import Objective


class Collated(Resident):
    """A split whose samples are collated batch by batch; each batch then goes to the device."""

    def __init__(self, samples: Samples, splits: TaskSplits, device: torch.device | str) -> None:
        self._samples, self._device = samples, torch.device(device)
        self.objective = splits.objective
        self.taken = 0

    @property
    def device(self) -> torch.device:
        """The device of the batches."""
        return self._device

    def __len__(self) -> int:
        return len(self._samples)

    def whole(self) -> Any:
        """Return all samples as one batch."""
        return self._moved(self._samples.batch(range(len(self))))

    def contents(self, order: Tensor, steps: Sequence[slice]) -> Iterator[Any]:
        """Yield the batch of each step, a slice of `order` (n,), positions on the CPU."""
        positions = order.tolist()
        return (self._moved(self._samples.batch(positions[step])) for step in steps)

    def varied(
        self, order: Tensor, steps: Sequence[slice], augment: Augment, generator: torch.Generator
    ) -> Iterator[Any]:
        """Yield the same: a task varies its samples itself."""
        assert augment == "none", "checks refuse data.augment with a task"
        return self.contents(order, steps)

    def _moved(self, batch: Any) -> Any:
        return each(methodcaller("to", self._device), batch)


def labels_of(split: Split | Samples, objective: Objective) -> Integers | None:
    """Return the labels of all samples (N,); None where the task gives none. Those of a task are collated for this."""
    if isinstance(split, Split):
        return split.labels
    if objective.labels is None:
        return None
    parts = (range(start, min(start + WHOLE_BATCH, len(split))) for start in range(0, len(split), WHOLE_BATCH))
    return np.concatenate([objective.labels(split.batch(part)).numpy() for part in parts])


def on_device(split: Split | Samples, splits: Splits | TaskSplits, device: torch.device | str) -> Resident:
    """Put a split, which may be the test split, on a device."""
    if isinstance(split, Samples):
        assert isinstance(splits, TaskSplits)
        return Collated(split, splits, device)
    assert isinstance(splits, Splits)
    return Resident(split, splits, device)
