"""Lightning: a module and a data module as their user has them, and the two functions that make a study of them."""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from trainables.task.adapters.lightning import task_of
from trainables.task.task import Task


class Digits(lightning.LightningDataModule):
    """Scikit-learn's digits."""

    def setup(self, stage: str) -> None:
        """Read the images."""
        found = load_digits()
        images = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
        self.samples = TensorDataset(images, torch.tensor(found.target))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Read the first 1,200 images."""
        return DataLoader(Subset(self.samples, range(1200)), batch_size=64, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Read the others."""
        return DataLoader(Subset(self.samples, range(1200, len(self.samples))), batch_size=256)


class Classifier(lightning.LightningModule):
    """A small convolutional network, its loss, its metric and its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 8, 8) to logits (B, 10)."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = F.cross_entropy(self(batch[0]), batch[1], label_smoothing=0.1)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the accuracy of a batch."""
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=0.003, weight_decay=0.01)


def task() -> Task:
    """Train for what the module trains for."""
    return task_of(Classifier(), Digits(), metric="val_accuracy", outputs=10, logits=1)


def network(num_classes: int, in_channels: int) -> nn.Module:
    """Build the network: here the module itself."""
    return Classifier()
