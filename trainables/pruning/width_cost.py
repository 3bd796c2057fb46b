"""The cost of a network as a function of the widths of its parts."""

from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[np.int64], Tensor)


@dataclass(frozen=True, eq=False)
class WidthCost(Generic[Array]):
    """The sum over layers of price x output channels x input channels of a filter, and a constant.

    In int64 the cost is exact. In float64 it is differentiable, and takes sums of gates as widths.
    """

    prices: Array  # (layers,) cost of one output and one input channel
    outputs: Array  # (parts, layers) output channels of a layer for each unit of a part
    inputs: Array  # (parts, layers) input channels of a filter for each unit of a part
    fixed_outputs: Array  # (layers,) output channels of no part
    fixed_inputs: Array  # (layers,) input channels of a filter that belong to no part
    constant: int = 0  # cost of what no width changes

    def __call__(self, units: Array) -> Array:
        """Compute the cost of these numbers of units: (..., parts) -> (...)."""
        return self._filters(units) @ self.prices + self.constant

    def of_layers(self, units: Array) -> Array:
        """Compute the cost of each layer with these numbers of units: (..., parts) -> (..., layers)."""
        return self._filters(units) * self.prices

    def _filters(self, units: Array) -> Array:
        outputs = units @ self.outputs + self.fixed_outputs
        inputs = units @ self.inputs + self.fixed_inputs
        return outputs * inputs

    def differentiable(self, device: torch.device) -> "WidthCost[Tensor]":
        """Return the same function for float64 tensors on a device."""
        names = [field.name for field in fields(self) if field.name != "constant"]
        columns = {name: torch.as_tensor(getattr(self, name)).to(device, torch.float64) for name in names}
        return WidthCost(**columns, constant=self.constant)
