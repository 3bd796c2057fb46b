"""The calibration samples: the few training samples that criteria, policies and profiles may look at."""

import torch

from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.pruning.subject import Calibration


def calibration_samples(splits: Splits, size: int, device: torch.device) -> Calibration:
    """Take the first `size` training samples at most; every prefix of a split is spread evenly over the classes."""
    train = splits.train
    data = Resident(Split(train.images[:size], train.labels[:size], train.ids[:size]), splits, device)
    return Calibration(data.normalise(data.images), data.labels)
