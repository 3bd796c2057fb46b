"""The cost of layers and products as functions of the widths of groups."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from trainables.models.layers import Layer
from trainables.pruning.channel_groups import Group
from trainables.pruning.latency_cost import LatencyTerms, Term, latency_terms
from trainables.pruning.width_cost import Extent, WidthCost, width_cost
from trainables.tracing.labels import Ids
from trainables.tracing.trace import Price, Trace


def layer_cost(layers: Sequence[Layer], trace: Trace, groups: Sequence[Group]) -> WidthCost[NDArray[np.int64]]:
    """Return the weights of each layer as a function of the kept units of each group."""
    extents = _Extents(trace, groups)
    products = []
    for layer in layers:
        found = _sides(layer, trace, extents)
        products.append((layer.size // prod(map(extents.whole, found)), found))
    return width_cost(products, len(groups))


def product_cost(trace: Trace, groups: Sequence[Group]) -> WidthCost[NDArray[np.int64]]:
    """Return all multiply-accumulates for one image as a function of the kept units of each group."""
    extents = _Extents(trace, groups)
    return width_cost([extents.of_product(price) for price in trace.prices], len(groups))


def channel_latency(layers: Sequence[Layer], trace: Trace, groups: Sequence[Group]) -> LatencyTerms:
    """Return what latency grows with as channels go: a constant, all products, and three numbers of each kind of layer.

    These are its multiply-accumulates, its outputs and its inputs, for one image. Layers of one kind have the same
    class, filter and number of positions, and all or none of them have filters of a single channel.
    """
    extents = _Extents(trace, groups)
    terms: list[Term] = [("constant", 1, [])]
    terms += [("products", *extents.of_product(price)) for price in trace.prices]
    for layer in layers:
        kind = (layer.kind, layer.shape[1] == 1, layer.shape[2:], layer.positions)
        sides = _sides(layer, trace, extents)
        whole = prod(map(extents.whole, sides))
        terms.append((("products", kind), layer.macs // whole, sides))
        terms += [((dim, kind), layer.positions, [side]) for dim, side in enumerate(sides)]
    return latency_terms(terms, len(groups))


def _sides(layer: Layer, trace: Trace, extents: "_Extents") -> list[Extent]:
    """Find the extents of the outputs and of the inputs of a layer; a side of extent 1 has none."""
    found = []
    for dim in (0, 1):
        ids = trace.stored.get((layer.parameter, dim))
        if ids is not None:
            found.append(extents.of(ids[slice(*layer.rows)] if layer.rows and dim == 0 else ids))
    return found


class _Extents:
    """Extents of dimensions, by the group that their positions belong to."""

    def __init__(self, trace: Trace, groups: Sequence[Group]) -> None:
        self._labels, self._units = trace.labels, np.array([each.units for each in groups], np.int64)
        self._group = np.full(trace.labels.count, len(groups))
        for n, each in enumerate(groups):
            self._group[each.labels] = n

    def of(self, ids: Ids) -> Extent:
        """Sort the positions of a dimension by group: positions for each unit (groups,), and those of no group."""
        counts = np.bincount(self._group[self._labels.find(ids)], minlength=len(self._units) + 1)
        return counts[:-1] // np.maximum(self._units, 1), int(counts[-1])

    def whole(self, extent: Extent) -> int:
        """Return the extent with all units."""
        return int(self._units @ extent[0]) + extent[1]

    def of_product(self, price: Price) -> tuple[int, list[Extent]]:
        """Split the cost of a product into its price at extents of 1, and these extents."""
        found = []
        for ids in price.factors.entries.values():
            axes = self._labels.varies(ids)
            if len(axes) == 1:
                found.append(self.of(np.moveaxis(ids, axes[0], 0).reshape(ids.shape[axes[0]], -1)[:, 0]))
        return price.macs // prod(map(self.whole, found)), found
