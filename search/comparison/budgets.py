"""Whether two pruned networks keep the same budget, so that their accuracies may be compared."""

from typing import overload

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.01  # largest difference of two kept budgets, as a share of the larger, that still counts as a match

Floats = NDArray[np.float64]


@overload
def matched(kept: float, other: float) -> bool: ...
@overload
def matched(kept: Floats, other: Floats) -> NDArray[np.bool_]: ...
def matched(kept: float | Floats, other: float | Floats) -> bool | NDArray[np.bool_]:
    """Tell whether two budgets match, in weights or in multiply-accumulates kept; arrays are compared elementwise.

    NaN, a result that is missing, matches nothing.
    """
    return (kept - other <= TOLERANCE * kept) & (other - kept <= TOLERANCE * other)
