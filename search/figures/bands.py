"""Intervals along a line as a shaded band."""

import math
from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes

LEFT_OUT = "An interval that reaches beyond both ends of a chart is not drawn."  # for the text beside charts with bands


def band(
    axis: Axes,
    xs: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
    hue: str,
    step: Literal["post"] | None = None,
) -> None:
    """Shade intervals behind a line. The axis has its final limits.

    A point without an interval is left out. So is an interval that reaches beyond both ends of the axis: it would fill
    the plot.
    """
    bottom, top = axis.get_ylim()
    shown = [ends is not None and not (ends[0] <= bottom and ends[1] >= top) for ends in intervals]
    if any(shown):
        low, high = zip(*(ends or (math.nan, math.nan) for ends in intervals), strict=True)
        axis.fill_between(xs, low, high, where=shown, step=step, color=hue, alpha=0.09, lw=0)
