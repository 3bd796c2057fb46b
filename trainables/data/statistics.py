"""Mean and deviation of pixels, by which images are normalised."""

from collections.abc import Iterator

import numpy as np

from trainables.data.stream import Stream, batches
from trainables.data.types import Pixels

MOST = 65_536  # images that are looked at: the first ones, which are spread evenly over the classes
BLOCK = 256  # of them at a time
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel of pixels in [0, 1]
IMAGENET: Statistics = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what torchvision's weights were trained with


def statistics(images: Pixels | Stream) -> Statistics:
    """Mean and standard deviation of each channel of `images` (N, C, H, W), scaled to [0, 1].

    Both come from exact counts of the 256 values, so the order of the samples does not matter. A channel that is
    constant gets the deviation 1: normalising it gives zeros instead of a division by zero.
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
