"""Classification: the built-in task. A batch is images (B, C, H, W) and labels (B,); outputs are logits."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.task.distance import Divergence
from trainables.task.metric import Metric
from trainables.task.objective import Losses, Objective

Batch = tuple[Tensor, Tensor]


def cross_entropy(logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample in nats: (B,). smoothing: share of its label spread over all classes."""
    return F.cross_entropy(logits, batch[1], reduction="none", label_smoothing=smoothing)


def hits(logits: Tensor, batch: Batch) -> Tensor:
    """Count the samples whose label has the largest logit, and all samples: (2,)."""
    labels = batch[1]
    found = (logits.argmax(1) == labels).sum()
    return torch.stack([found, torch.full_like(found, len(labels))])


def smoothed(smoothing: float) -> Losses:
    """Return the cross-entropy with smoothed labels."""
    return partial(cross_entropy, smoothing=smoothing)


def images_of(batch: Batch) -> Tensor:
    """Return the images of a batch."""
    return batch[0]


CLASSIFICATION = Objective(cross_entropy, Metric("accuracy", hits), Divergence(), images_of, smoothed)
