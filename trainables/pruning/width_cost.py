"""The cost of a network as a function of the widths of its parts."""

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Extent: TypeAlias = tuple[NDArray[np.int64], int]  # elements for each unit of a part (parts,), and those of no part
Array = TypeVar("Array", NDArray[np.int64], Tensor)


@dataclass(frozen=True, eq=False)
class Width(Generic[Array]):
    """The extent of one dimension of each product."""

    per_unit: Array  # (parts, products) elements for each unit of a part
    fixed: Array  # (products,) elements of no part

    def __call__(self, units: Array) -> Array:
        """Compute the extents with these numbers of units: (..., parts) -> (..., products)."""
        return units @ self.per_unit + self.fixed


@dataclass(frozen=True, eq=False)
class WidthCost(Generic[Array]):
    """The sum over products of price x the extents of some dimensions: outputs, inputs of a filter, heads and the like.

    In int64 the cost is exact. In float64 it is differentiable, and takes sums of gates as widths.
    """

    prices: Array  # (products,) cost at an extent of 1
    widths: tuple[Width[Array], ...]  # of as many dimensions as any product has

    def __call__(self, units: Array) -> Array:
        """Compute the cost of these numbers of units: (..., parts) -> (...)."""
        return self._elements(units) @ self.prices

    def of_products(self, units: Array) -> Array:
        """Compute the cost of each product with these numbers of units: (..., parts) -> (..., products)."""
        return self._elements(units) * self.prices

    def _elements(self, units: Array) -> Array:
        elements = self.widths[0](units)
        for width in self.widths[1:]:
            elements = elements * width(units)
        return elements

    def differentiable(self, device: torch.device) -> "WidthCost[Tensor]":
        """Return the same function for float64 tensors on a device."""

        def moved(values: Array) -> Tensor:
            return torch.as_tensor(values).to(device, torch.float64)

        widths = tuple(Width(moved(width.per_unit), moved(width.fixed)) for width in self.widths)
        return WidthCost(moved(self.prices), widths)


def width_cost(products: list[tuple[int, list[Extent]]], parts: int) -> WidthCost[NDArray[np.int64]]:
    """Build a cost from products: a price, and the extents that it is multiplied by."""
    most = max((len(extents) for _, extents in products), default=0)
    one: Extent = np.zeros(parts, np.int64), 1
    filled = [[*extents, *[one] * (most + 1 - len(extents))] for _, extents in products]
    widths = tuple(
        Width(
            np.array([extents[n][0] for extents in filled], np.int64).reshape(len(products), parts).T,
            np.array([extents[n][1] for extents in filled], np.int64),
        )
        for n in range(most + 1)
    )
    return WidthCost(np.array([price for price, _ in products], np.int64), widths)
