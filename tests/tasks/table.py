"""Regression on a table: scikit-learn's diabetes data, an MLP, R2."""

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.utils.data import TensorDataset, random_split

from trainables.task.metrics import mean_squared_error, r2
from trainables.task.task import Task


def squared_error(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the squared error of each patient: (B,)."""
    return (outputs[:, 0] - batch[1]).square()


def diabetes() -> Task:
    """Predict how far the disease is after a year from ten measurements of each of 442 patients."""
    table, target = (torch.tensor(values, dtype=torch.float32) for values in load_diabetes(return_X_y=True))
    table, target = ((values - values.mean(0)) / values.std(0) for values in (table, target))
    parts = random_split(TensorDataset(table, target), [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
    splits = dict(zip(("train", "validation", "test"), parts, strict=True))
    return Task(splits=splits, example=table[:1], loss=squared_error, metric=r2(), other_metrics=[mean_squared_error()])


def mlp(num_classes: int, in_channels: int) -> nn.Module:
    """Build a network of three layers."""
    return nn.Sequential(
        *(nn.Linear(in_channels, 64), nn.ReLU()), *(nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, num_classes)
    )
