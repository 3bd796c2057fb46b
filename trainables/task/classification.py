"""Classification: the built-in task. A batch is images (B, C, H, W) and labels (B,); outputs are logits."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.recipe import Recipe
from trainables.task.distance import Divergence
from trainables.task.metric import Metric
from trainables.task.objective import Labels, Losses, Objective

Batch = tuple[Tensor, Tensor]


def cross_entropy(logits: Tensor, batch: Batch, weights: Sequence[float] = (), smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample in nats: (B,).

    weights: of the classes; empty: 1 each. smoothing: share of a label that is spread over all classes.
    """
    of_classes = torch.tensor(weights, device=logits.device) if weights else None
    return F.cross_entropy(logits, batch[1], of_classes, reduction="none", label_smoothing=smoothing)


def labels_of(batch: Batch) -> Tensor:
    """Return the labels of a batch."""
    return batch[1]


def hits(logits: Tensor, batch: Any, labels: Labels = labels_of) -> Tensor:
    """Tell for each sample whether its label has the largest logit: (B,)."""
    return logits.argmax(1) == labels(batch)


def counted(logits: Tensor, batch: Batch) -> Tensor:
    """Count the hits and all samples: (2,)."""
    found = hits(logits, batch).sum()
    return torch.stack([found, torch.full_like(found, len(batch[1]))])


def images_of(batch: Batch) -> Tensor:
    """Return the images of a batch."""
    return batch[0]


def trained_loss(counts: Sequence[int], recipe: Recipe) -> Losses:
    """Return the loss that a recipe asks for. counts: training samples of each class, which "balanced" reads.

    Balanced weights are inversely proportional to the counts, and their mean over the training samples is 1.
    """
    weights = recipe.loss_weights
    if weights == "balanced":
        weights = tuple(sum(counts) / (len(counts) * count) for count in counts)
    return partial(cross_entropy, weights=weights, smoothing=recipe.label_smoothing)


def classification(counts: Sequence[int] = ()) -> Objective:
    """Return the objective of classes with so many training samples each."""
    return Objective(
        cross_entropy,
        Metric("accuracy", counted),
        Divergence(),
        images_of,
        loss_of=partial(trained_loss, tuple(counts)),
        hits=hits,
        labels=labels_of,
    )


CLASSIFICATION = classification()
