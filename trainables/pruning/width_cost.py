"""What a network costs as a function of the widths of its parts."""

from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[np.int64], Tensor)


@dataclass(frozen=True, eq=False)
class WidthCost(Generic[Array]):
    """A sum over layers of price x outputs x inputs; a depthwise layer counts as having one input.

    In int64 the cost of counts is exact; in float64 it is differentiable, and of sums of gates, too.
    """

    prices: Array  # (layers,) of a pair of one output and one input channel
    outputs: Array  # (parts, layers) output channels for each unit of a part
    inputs: Array  # (parts, layers) channels that each filter reads for each unit of a part
    fixed_outputs: Array  # (layers,) those of no part
    fixed_inputs: Array  # (layers,)

    def __call__(self, units: Array) -> Array:
        """Cost of these units of each part: (..., parts) -> (...)."""
        outputs = units @ self.outputs + self.fixed_outputs
        inputs = units @ self.inputs + self.fixed_inputs
        return (outputs * inputs) @ self.prices

    def soft(self, device: torch.device) -> "WidthCost[Tensor]":
        """The same for float64 tensors on a device."""
        columns = {field.name: torch.as_tensor(getattr(self, field.name)) for field in fields(self)}
        return WidthCost(**{name: column.to(device, torch.float64) for name, column in columns.items()})
