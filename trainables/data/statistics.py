"""Mean and deviation of pixels, for the normalisation of images."""

from collections.abc import Iterator

import numpy as np

from trainables.data.stream import Stream, batches
from trainables.data.types import Pixels

MOST = 65_536  # images that count: the first ones, which are spread evenly over the classes
BLOCK = 256  # images at a time
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel of pixels in [0, 1]
IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # used to train torchvision's weights


def statistics(images: Pixels | Stream) -> Statistics:
    """Compute mean and standard deviation of each channel of `images` (N, C, H, W), scaled to [0, 1].

    Both come from exact counts of the 256 values, so the order of the samples does not matter. A constant
    channel gets the deviation 1: its normalised values are zeros, without a division by zero.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for block in _blocks(images[:MOST]):
        for channel in range(channels):
            counts[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    means = weights @ values
    deviations = np.sqrt((weights * (values - means[:, None]) ** 2).sum(axis=1))
    return tuple(means.tolist()), tuple(float(deviation) if deviation > 0 else 1.0 for deviation in deviations)


def _blocks(images: Pixels | Stream) -> Iterator[Pixels]:
    if isinstance(images, Stream):
        steps = np.split(np.arange(len(images)), range(BLOCK, len(images), BLOCK))
        yield from (batch.numpy() for batch in batches(images, steps))
    else:
        yield from (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
