"""What pruning one part does to the outputs of a network, sample by sample."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from trainables.task.distance import squared_error
from trainables.task.objective import Objective


class Harm(NamedTuple):
    """How some samples are answered, and how far from the dense network's answers; float64, on the CPU."""

    sums: Tensor  # of the metric
    distance: Tensor  # (B,), by the task: of logits, the divergence in nats
    distortion: Tensor  # (B,), mean squared difference
    hits: Tensor  # (B,), what is right of each sample; NaN where nothing says so

    @classmethod
    def of(cls, objective: Objective, batch: Any, dense: Tensor, outputs: Tensor) -> Self:
        """Judge outputs (B, ...), and compare them with the dense network's (B, ...)."""
        distance = objective.distance
        found = (
            objective.metric.sums(outputs, batch),
            distance.of_samples(distance.reference(dense), outputs),
            squared_error(dense, outputs),
            objective.hits(outputs, batch) if objective.hits else torch.full((len(outputs),), torch.nan),
        )
        return cls(*(each.double().cpu() for each in found))

    @classmethod
    def of_all(cls, batches: Sequence["Harm"]) -> Self:
        """Put batches together."""
        sums, *of_samples = zip(*batches, strict=True)
        return cls(torch.stack(sums).sum(0), *map(torch.cat, of_samples))
