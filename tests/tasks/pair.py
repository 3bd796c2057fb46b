"""Two inputs: scikit-learn's digits as images beside tables of their sums, a network of two branches."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset, random_split

from trainables.task.metrics import accuracy
from trainables.task.task import Task

Batch = tuple[Tensor, Tensor, Tensor]  # images (B, 1, 8, 8), tables (B, 16), labels (B,)


def image_and_table(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what the model is called with: model(images, tables)."""
    return batch[0], batch[1]


def labels(batch: Batch) -> Tensor:
    """Return what it should answer."""
    return batch[2]


def cross_entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Return the loss of each sample: (B,)."""
    return F.cross_entropy(logits, labels(batch), reduction="none")


def pair() -> Task:
    """Tell the digit from its image and from the sums of its rows and columns."""
    found = load_digits()
    images = torch.tensor(found.images / 16, dtype=torch.float32)
    tables = torch.cat([images.sum(1), images.sum(2)], 1)
    samples = TensorDataset(images[:, None], tables, torch.tensor(found.target))
    parts = random_split(samples, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
    splits = dict(zip(("train", "validation", "test"), parts, strict=True))
    return Task(
        splits=splits,
        example=(images[:1, None], tables[:1]),
        loss=cross_entropy,
        metric=accuracy(labels),
        outputs=10,
        logits=1,
        inputs=image_and_table,
    )


class TwoBranches(nn.Module):
    """Convolutions of the image and a layer of the table, read by one head."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.table = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Linear(16, 24)
        self.head = nn.Linear(56, classes)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        """Map images (B, C, H, W) and tables (B, 16) to logits (B, classes)."""
        seen = self.second(self.norm(self.first(image)).relu()).relu().mean((2, 3))
        logits: Tensor = self.head(torch.cat([seen, self.table(table).relu()], 1))
        return logits


def two_branches(num_classes: int, in_channels: int) -> nn.Module:
    """Build the network of two branches."""
    return TwoBranches(num_classes, in_channels)
