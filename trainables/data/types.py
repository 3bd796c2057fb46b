"""Types that every data file shares: roles of samples, arrays, the shape of an image."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Role = Literal["train", "val", "test"]
ROLES: tuple[Role, ...] = ("train", "val", "test")
Integers = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class Shape(NamedTuple):
    """What a model must know of a data set: one image is (channels, height, width)."""

    channels: int
    height: int
    width: int
    classes: int

    @property
    def image(self) -> tuple[int, int, int]:
        """The extents of an image: channels, height, width."""
        return self.channels, self.height, self.width
