"""The latency of a network as a function of what its parts keep, fitted to measured networks.

Ours: latency is a constant, and for each kind of layer a price of a multiply-accumulate, of an output and of an input.
No price is below 0, so a smaller network is never slower. HALP (arXiv 2110.10811) and SPDY (arXiv 2201.13096) add up
times of layers that are measured alone instead, which leaves out what runtimes fuse or keep in a cache.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.pruning.width_cost import Extent, WidthCost, width_cost

PICOSECONDS = 1e9  # in a millisecond; a cost is a whole number of these
LatencyCost: TypeAlias = WidthCost[NDArray[np.int64]]  # units kept -> picoseconds
Floats = NDArray[np.float64]
Term = tuple[Hashable, int, list[Extent]]  # its kind, its size at extents of 1, and these extents


@dataclass(frozen=True, eq=False)
class LatencyTerms:
    """What the latency of a network grows with. Terms of one kind have one price."""

    sizes: WidthCost[NDArray[np.int64]]  # of all terms
    kinds: NDArray[np.int64]  # (terms,) the kind of each, from 0

    def __call__(self, units: NDArray[np.int64]) -> Floats:
        """Add up the terms of each kind: (..., parts) units -> (..., kinds)."""
        terms = self.sizes.of_products(units).astype(np.float64)
        of_kind: Floats = terms @ (self.kinds[:, None] == np.arange(self.kinds.max() + 1))
        return of_kind

    def fitted(self, units: NDArray[np.int64], ms: Floats) -> LatencyCost:
        """Fit prices to measured networks, by least squares of the relative errors; no price is below 0.

        units: (networks, parts) that they keep. ms: (networks,) milliseconds. Returns the latency in picoseconds.
        """
        from scipy.optimize import nnls  # an import of 0.2 s that few studies need

        sizes = self(units)
        largest = np.maximum(sizes.max(0), 1.0)
        scaled, _ = nnls(sizes / largest / ms[:, None], np.ones(len(ms)))
        prices = scaled / largest * PICOSECONDS
        whole = np.round(self.sizes.prices * prices[self.kinds]).astype(np.int64)
        return replace(self.sizes, prices=whole)


def latency_terms(terms: Sequence[Term], parts: int) -> LatencyTerms:
    """Gather the terms of a network. parts: number of its parts."""
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kind for kind, _, _ in terms))}
    sizes = width_cost([(size, extents) for _, size, extents in terms], parts)
    return LatencyTerms(sizes, np.array([numbers[kind] for kind, _, _ in terms], np.int64))


def picoseconds(latency: LatencyCost | None, keep: NDArray[np.int64]) -> int:
    """Predict the latency with (parts,) units kept. It must have been measured."""
    assert latency is not None, "latency must be measured before a budget of it is spent"
    return int(latency(keep))
