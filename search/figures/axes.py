"""Logarithmic axes that are read in plain, round numbers."""

import math

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

STEPS: tuple[tuple[int, tuple[float, ...]], ...] = (  # within a power of ten; taken where there are not enough before
    *((3, steps) for steps in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7))),
    (2, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)),
)
NARROWEST = 1.6  # factor that an axis spans at least


def round_numbers(low: float, high: float) -> list[float]:
    """Find the fewest round numbers between two that a logarithmic axis can be read by: three, if there are so many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for enough, steps in STEPS:
        if len(found) < enough:
            found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    return found


def readable(low: float, high: float) -> tuple[float, float]:
    """Widen what a logarithmic axis spans to a factor of `NARROWEST`: budgets that match are one place on it."""
    wider = max(1.0, math.sqrt(NARROWEST * low / high))
    return low / wider, high * wider


def log_ticks(axis: Axes) -> None:
    """Write a logarithmic x axis in plain numbers."""
    low, high = readable(*axis.get_xlim())
    shown = round_numbers(low, high)
    axis.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(low, high)
