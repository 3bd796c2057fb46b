"""The calibration samples: the few training samples that criteria, policies and profiles may read."""

import torch

from trainables.data.collated import on_device
from trainables.data.splits import AnySplits
from trainables.pruning.context import Calibration


def calibration_samples(splits: AnySplits, size: int, device: torch.device) -> Calibration:
    """Return the first `size` training samples, or all where there are fewer, on a device.

    Every prefix of a split of images is spread evenly over the classes; that of a task is a random draw.
    """
    return Calibration(on_device(splits.train.first(size), splits, device).whole(), splits.objective)
