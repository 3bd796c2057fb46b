"""Logarithmic axes with plain, round numbers."""

import math

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

# (enough, steps): steps within a power of ten, used where the ones before gave fewer than `enough` numbers
STEPS: tuple[tuple[int, tuple[float, ...]], ...] = (
    *((3, steps) for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7))),
    (2, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)),
)
NARROWEST = 1.6  # an axis spans at least this factor


def round_numbers(low: float, high: float) -> list[float]:
    """Find round numbers in a range for the ticks of a logarithmic axis: three or more, where the range has three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers: list[float] = []
    for enough, steps in STEPS:
        if len(numbers) < enough:
            numbers = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    return numbers


def readable(low: float, high: float) -> tuple[float, float]:
    """Widen the range of a logarithmic axis to a factor of `NARROWEST`, so that small differences look small."""
    wider = max(1.0, math.sqrt(NARROWEST * low / high))
    return low / wider, high * wider


def log_ticks(axis: Axes) -> None:
    """Label a logarithmic x axis with plain numbers."""
    low, high = readable(*axis.get_xlim())
    ticks = round_numbers(low, high)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(low, high)
