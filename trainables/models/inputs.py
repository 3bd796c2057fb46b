"""What a model is built for. Needs no torch."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from trainables.frozen import Frozen

Extent = Annotated[int, Field(ge=1, le=1 << 16)]
Dtype = Literal["float32", "int64", "int32", "bool"]


class TensorSpec(Frozen):
    """One tensor of an input of several."""

    name: Annotated[str, Field(max_length=200)] = ""  # the argument that the model has for it; empty: by its position
    shape: Annotated[tuple[Extent, ...], Field(max_length=8)]  # without the batch
    dtype: Dtype


class Inputs(NamedTuple):
    """The shape and the type of one input, and the number of outputs."""

    image: tuple[int, ...]  # extents without the batch; of an image: channels, height, width
    classes: int
    dtype: str = "float32"
    tensors: tuple[TensorSpec, ...] = ()  # of an input of several, the first of which `image` and `dtype` describe
