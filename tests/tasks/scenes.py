"""Segmentation: scenes composed of scikit-learn's digits, a small U-Net, mean intersection over union."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from trainables.task.metrics import mean_iou
from trainables.task.task import Task

SIDE, CLASSES, INK = 24, 11, 0.3  # pixels; ten digits and the background; darker pixels belong to a digit


def scenes(count: int, first: int, seed: int) -> TensorDataset:
    """Place four digits in each scene, from the digits behind `first`: images (1, SIDE, SIDE), classes (SIDE, SIDE)."""
    found = load_digits()
    digits, labels = torch.tensor(found.images / 16, dtype=torch.float32), torch.tensor(found.target)
    draw = torch.Generator().manual_seed(seed)
    images, classes = torch.zeros(count, 1, SIDE, SIDE), torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for n in range(count):
        for place in range(4):
            digit = first + int(torch.randint(800, (1,), generator=draw))
            y, x = (12 * part + int(torch.randint(5, (1,), generator=draw)) for part in divmod(place, 2))
            images[n, 0, y : y + 8, x : x + 8] = digits[digit]
            classes[n, y : y + 8, x : x + 8] = (digits[digit] > INK) * (1 + labels[digit])
    return TensorDataset(images, classes)


def pixel_loss(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean cross-entropy of each scene's pixels: (B,)."""
    return F.cross_entropy(logits, batch[1], reduction="none").mean((1, 2))


def right_pixels(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the share of each scene's pixels that are right: (B,)."""
    return (logits.argmax(1) == batch[1]).float().mean((1, 2))


def segmentation() -> Task:
    """Name the digit that each pixel belongs to."""
    return Task(
        splits={"train": scenes(600, 0, 0), "validation": scenes(100, 900, 1)},
        example=torch.zeros(1, 1, SIDE, SIDE),
        loss=pixel_loss,
        metric=mean_iou(CLASSES),
        outputs=CLASSES,
        logits=1,
        hits=right_pixels,
    )


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """An encoder of two scales, a decoder, and a skip connection between them."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.down, self.deep = _pair(channels, 16), nn.Sequential(_pair(16, 32), _pair(32, 32))
        self.up, self.head = _pair(48, 16), nn.Conv2d(16, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, classes, H, W)."""
        fine = self.down(images)
        coarse = F.interpolate(self.deep(F.max_pool2d(fine, 2)), scale_factor=2.0)
        logits: Tensor = self.head(self.up(torch.cat([fine, coarse], 1)))
        return logits


def unet(num_classes: int, in_channels: int) -> nn.Module:
    """Build a small U-Net."""
    return UNet(num_classes, in_channels)
