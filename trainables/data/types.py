"""TODO."""

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    pass


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
