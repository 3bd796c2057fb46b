"""The calibration samples: the few training samples that criteria, policies and profiles may read."""

import torch

from trainables.data.batches import Resident, eval_batches
from trainables.data.splits import Splits
from trainables.pruning.context import Calibration

BATCH = 256  # samples at a time


def calibration_samples(splits: Splits, size: int, device: torch.device) -> Calibration:
    """Return the first `size` training samples, or all where there are fewer, on a device.

    Every prefix of a split is spread evenly over the classes.
    """
    data = Resident(splits.train.first(size), splits, device)
    images = torch.cat([batch.inputs for batch in eval_batches(data, BATCH)])
    return Calibration((images, data.labels), splits.objective)
