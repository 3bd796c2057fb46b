"""What a model is built for. Needs no torch."""

from typing import NamedTuple


class Inputs(NamedTuple):
    """The shape and the type of one input, and the number of outputs."""

    image: tuple[int, ...]  # extents without the batch; of an image: channels, height, width
    classes: int
    dtype: str = "float32"
