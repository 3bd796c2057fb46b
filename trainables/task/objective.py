"""What the outputs of a network are worth: the part of a task that training and evaluation read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainables.arguments import Arguments
from trainables.recipe import Recipe
from trainables.task.distance import Distance
from trainables.task.metric import Metric

Losses = Callable[[Tensor, Any], Tensor]  # outputs and batch -> (B,), or the mean over the batch
Hits = Callable[[Tensor, Any], Tensor]  # outputs and batch -> (B,): whether a sample is right, or a share in [0, 1]
Labels = Callable[[Any], Tensor]  # batch -> classes (B,) int64


@dataclass(frozen=True)
class Objective:
    """What a network minimises, and what it is judged by.

    A batch is what the data set's samples are collated to: for images (images, labels).
    """

    loss: Losses
    metric: Metric
    distance: Distance
    inputs: Callable[[Any], Arguments]  # batch -> what the network is called with, (B, ...)
    other_metrics: tuple[Metric, ...] = ()  # what results show, too
    loss_of: Callable[[Recipe], Losses] | None = None  # what a training by a recipe minimises; None: always `loss`
    hits: Hits | None = None  # None: nothing says what a right answer is
    labels: Labels | None = None  # of each sample, where outputs are logits (B, classes); None: samples have no class

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        """Return the loss of each sample: (B,). Each one has the batch's mean where the task gives no others."""
        return _of_samples(self.loss(outputs, batch), outputs)

    def trained(self, recipe: Recipe) -> Losses:
        """Return the loss of each sample that a training by this recipe minimises."""
        loss = self.loss_of(recipe) if self.loss_of else self.loss
        return lambda outputs, batch: _of_samples(loss(outputs, batch), outputs)


def _of_samples(losses: Tensor, outputs: Tensor) -> Tensor:
    return losses if losses.dim() else losses.expand(len(outputs))
