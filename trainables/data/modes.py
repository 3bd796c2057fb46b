"""Which images of a data set have colour: the headers of some images of each class and split say it."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.data.channels import Modes, is_grey
from trainables.data.images import Encoded, mode_of
from trainables.data.stream import PIECE, ahead
from trainables.data.types import Integers

MOST = 4096  # headers that are read, or one of each class and split if these are more


def spread_sample(labels: Integers, roles: NDArray[Any], most: int = MOST) -> Integers:
    """Return the positions of all of N samples, or of about `most`: evenly spaced ones of each class and split.

    labels, roles: (N,). Each class and split has at least one. The positions ascend. The same data set gives the same.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.lexsort((labels, roles))
    kinds = np.stack([roles[order], labels[order]])
    starts = np.flatnonzero(np.any(kinds[:, 1:] != kinds[:, :-1], axis=0)) + 1
    groups = np.split(order, starts)
    each = max(1, most // len(groups))
    return np.sort(np.concatenate([evenly(group, each) for group in groups]))


def evenly(positions: Integers, count: int) -> Integers:
    """Return `count` evenly spaced entries of an array (n,), or all of them if n is not larger."""
    if len(positions) <= count:
        return positions
    return positions[np.arange(count) * len(positions) // count]


def count_modes(batches: Iterable[Sequence[Encoded]], images: int) -> Modes:
    """Count the images with and without colour by their headers. An image whose header cannot be read does not count.

    images: number of images in the data set.
    """
    pieces = (batch[n : n + PIECE] for batch in batches for n in range(0, len(batch), PIECE))
    modes = [mode for piece in ahead(_modes, pieces, os.cpu_count() or 1) for mode in piece if mode is not None]
    grey = sum(is_grey(mode) for mode in modes)
    return Modes(len(modes) - grey, grey, images)


def _modes(encoded: Sequence[Encoded]) -> list[str | None]:
    return [mode_of(each) for each in encoded]
