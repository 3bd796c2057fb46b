"""Whether two pruned networks keep the same budget, so that their accuracies may be compared."""

from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

TOLERANCE = 0.01  # largest difference of two kept budgets, as a share of the larger, that still counts as a match
NOISE = 0.1  # the same for times, however much their measured runs spread

Floats = NDArray[np.float64]


@overload
def matched(kept: float, other: float, within: float) -> bool: ...
@overload
def matched(kept: Floats, other: Floats, within: Floats) -> NDArray[np.bool_]: ...
def matched(kept: float | Floats, other: float | Floats, within: float | Floats) -> bool | NDArray[np.bool_]:
    """Tell whether two budgets match: weights, multiply-accumulates or time kept; arrays are compared elementwise.

    within: largest difference as a share of the larger one. NaN, a result that is missing, matches nothing.
    """
    return (kept - other <= within * kept) & (other - kept <= within * other)


def spent(trials: pa.Table) -> tuple[Floats, Floats]:
    """Find what trials keep of what their budget counts: (trials,), and how far a rival may be from that: (trials,).

    A budget of latency counts time: the measured fraction of the dense network's, or the predicted milliseconds where
    nothing was measured, as the table is of another machine. Times match within the spread of the measured runs, but
    within 1 % at least, as counts do, and within 10 % at most.
    """

    def column(name: str) -> Floats:
        found: Floats = trials[name].cast(pa.float64()).to_numpy()
        return found

    budget = trials["budget"].to_numpy()
    measured = column("latency_ms") / column("dense_latency_ms")
    latency = np.where(np.isnan(measured), column("predicted_latency_ms"), measured)
    kept = np.select(
        [budget == "params", budget == "macs"], [column("params_kept"), column("macs_kept")], default=latency
    )
    noise = np.where(budget == "latency", np.nan_to_num(column("latency_spread")), 0.0)
    return kept, np.clip(noise, TOLERANCE, NOISE)
