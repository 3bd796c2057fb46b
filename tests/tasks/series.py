"""Time series: the rows of scikit-learn's digits as sequences, a 1-D convolutional network, weighted classes."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset, random_split

from trainables.task.metrics import accuracy, second
from trainables.task.task import Task

WEIGHTS = torch.tensor([1.0] * 8 + [2.0] * 2)  # of the classes: an eight or a nine that is missed costs twice


def weighted(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the weighted cross-entropy of each sequence: (B,)."""
    return F.cross_entropy(logits, batch[1], weight=WEIGHTS.to(logits.device), reduction="none")


def rows() -> Task:
    """Tell the digit from eight values in each of eight steps of time."""
    found = load_digits()
    steps = torch.tensor(found.images / 16, dtype=torch.float32).transpose(1, 2)  # (N, values, time)
    sequences = TensorDataset(steps, torch.tensor(found.target))
    parts = random_split(sequences, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
    splits = dict(zip(("train", "validation", "test"), parts, strict=True))
    return Task(
        splits=splits,
        example=steps[:1],
        loss=weighted,
        metric=accuracy(),
        outputs=10,
        logits=1,
        labels=second,
    )


def convolutions(num_classes: int, in_channels: int) -> nn.Module:
    """Build two 1-D convolutions and a head."""
    return nn.Sequential(
        *(nn.Conv1d(in_channels, 32, 3, padding=1), nn.BatchNorm1d(32), nn.ReLU()),
        *(nn.Conv1d(32, 64, 3, padding=1), nn.BatchNorm1d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, num_classes)),
    )
