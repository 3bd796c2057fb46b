"""Metrics that many tasks share. Each is exact over all samples, whatever the sizes of the batches."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.task.metric import Metric, ratio

Target = Callable[[Any], Tensor]  # batch -> what the outputs should be


def second(batch: Any) -> Tensor:
    """Return the second part of a batch."""
    target: Tensor = batch[1]
    return target


def accuracy(target: Target = second, axis: int = 1) -> Metric:
    """Share of predictions whose class has the largest logit. target: (B, ...) classes; axis: of the classes."""

    def sums(logits: Tensor, batch: Any) -> Tensor:
        hits = logits.argmax(axis) == target(batch)
        return torch.stack([hits.sum(), torch.tensor(hits.numel(), device=hits.device)])

    return Metric("accuracy", sums)


def perplexity(target: Target = second, axis: int = 1, ignored: int = -100) -> Metric:
    """Exponential of the mean cross-entropy over all predictions but those of the class `ignored`."""

    def sums(logits: Tensor, batch: Any) -> Tensor:
        classes = target(batch)
        loss = F.cross_entropy(logits.movedim(axis, 1).double(), classes, reduction="sum", ignore_index=ignored)
        return torch.stack([loss, (classes != ignored).sum()])

    return Metric("perplexity", sums, lambda totals: math.exp(ratio(totals)), higher_is_better=False)


def r2(target: Target = second) -> Metric:
    """Share of the variance of the targets that the outputs explain: 1 is exact, 0 is as good as their mean."""

    def sums(outputs: Tensor, batch: Any) -> Tensor:
        wanted = target(batch).double().reshape(outputs.shape)
        count = torch.tensor(float(wanted.numel()), dtype=torch.float64, device=wanted.device)
        return torch.stack([count, wanted.sum(), wanted.square().sum(), (wanted - outputs).square().sum()])

    def value(totals: Tensor) -> float:
        count, total, squares, errors = totals.tolist()
        return float(1.0 - errors / (squares - total**2 / count))

    return Metric("r2", sums, value)


def mean_squared_error(target: Target = second) -> Metric:
    """Mean squared difference of outputs and targets."""

    def sums(outputs: Tensor, batch: Any) -> Tensor:
        errors = (target(batch).double().reshape(outputs.shape) - outputs).square()
        return torch.stack([errors.sum(), torch.tensor(float(errors.numel()), device=errors.device)])

    return Metric("mean_squared_error", sums, higher_is_better=False)


def mean_iou(classes: int, target: Target = second, axis: int = 1) -> Metric:
    """Mean over classes of intersection over union, counted over all pixels of all samples.

    Classes that are neither wanted nor predicted anywhere do not count.
    """

    def sums(logits: Tensor, batch: Any) -> Tensor:
        pairs = target(batch).flatten() * classes + logits.argmax(axis).flatten()
        return torch.bincount(pairs, minlength=classes**2)

    def value(totals: Tensor) -> float:
        confusion = totals.view(classes, classes)  # wanted x predicted
        both, either = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        return float((both / either)[either > 0].mean())

    return Metric("mean_iou", sums, value)
