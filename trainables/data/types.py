"""Types that all files of this folder share: roles of samples, arrays, the shape of an image."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.models.inputs import Inputs

Role = Literal["train", "val", "test"]
ROLES: tuple[Role, ...] = ("train", "val", "test")
Integers = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class Shape(NamedTuple):
    """The facts of a data set that a model needs. One image is (channels, height, width)."""

    channels: int
    height: int
    width: int
    classes: int

    @property
    def image(self) -> tuple[int, int, int]:
        """The extents of an image: channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def inputs(self) -> Inputs:
        """What a model of these images is built for."""
        return Inputs(self.image, self.classes)
