"""What the outputs of a network are worth: the part of a task that training and evaluation read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainables.task.distance import Distance
from trainables.task.metric import Metric

Losses = Callable[[Tensor, Any], Tensor]  # outputs and batch -> (B,), or the mean over the batch


@dataclass(frozen=True)
class Objective:
    """What a network minimises, and what it is judged by.

    A batch is what the data set's samples are collated to: for images (images, labels).
    """

    loss: Losses
    metric: Metric
    distance: Distance
    inputs: Callable[[Any], Tensor]  # batch -> what the network is called with, (B, ...)
    smooth: Callable[[float], Losses] | None = None  # share -> the loss with so much of each label spread; None: none

    def losses(self, outputs: Tensor, batch: Any, smoothing: float = 0.0) -> Tensor:
        """Return the loss of each sample: (B,). Each one has the batch's mean where the task gives no others."""
        loss = self.smooth(smoothing) if smoothing and self.smooth else self.loss
        losses = loss(outputs, batch)
        return losses if losses.dim() else losses.expand(len(outputs))
