"""Estimates side by side: each row has one marker for each series."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes

from search.comparison.estimates import Estimate, telling
from search.figures.chart import INK, SMALL, WIDTH, Panel, styles

ROW, MARKER = 15.0, 6.5  # points: least height of a row; height that each of its markers needs


def dots(
    title: str,
    label: str,
    series: Mapping[str, Mapping[str, Estimate]],
    chance: float | None = None,
    within: tuple[float, float] = (0.0, 1.0),
) -> Panel:
    """Draw means over seeds with their 95 % intervals. series: name -> row -> estimate.

    chance: a value to compare with, drawn as a dotted line. within: the ends that the axis never exceeds.
    """
    rows = list(dict.fromkeys(row for estimates in series.values() for row in estimates))
    ends = [
        end
        for estimates in series.values()
        for e in estimates.values()
        for end in (e.mean, *(telling(e.low, e.high, within[1]) or ()))
    ]
    ends += [] if chance is None else [chance]
    margin = 0.04 * (max(ends) - min(ends)) or 0.02
    style_of = styles(list(series))
    left = 10 + 3.9 * max(map(len, rows))
    width = max(WIDTH, left + 150)
    columns = max(1, int((width - left) / (17 + 0.58 * SMALL * max(map(len, series)))))
    above = 22 + 10 * math.ceil(len(series) / columns)
    step = max(ROW, 4 + MARKER * len(series))

    def draw(axis: Axes) -> None:
        for number, (name, estimates) in enumerate(series.items()):
            shift = (number + 0.5 - len(series) / 2) * MARKER / step
            heights = [rows.index(row) + shift for row in estimates]
            for height, estimate in zip(heights, estimates.values(), strict=True):
                if interval := telling(estimate.low, estimate.high, within[1]):
                    axis.plot(interval, [height, height], color=style_of[name].hue, lw=1.4, alpha=0.6)
            axis.plot(
                [estimate.mean for estimate in estimates.values()],
                heights,
                **style_of[name].point,
                label=name,
                clip_on=False,
            )
        if chance is not None:
            axis.axvline(chance, color=INK, lw=0.8, ls=(0, (1, 2)))
        axis.set_yticks(range(len(rows)), rows, fontsize=6.5)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlim(max(within[0], min(ends) - margin), min(within[1], max(ends) + margin))
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(label)
        legend = axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize=SMALL,
                             frameon=False, handletextpad=0.1, columnspacing=0.8, borderaxespad=0.1, labelspacing=0.2,
                             borderpad=0.2)  # fmt: skip
        for text in legend.get_texts():
            text.set_color(INK)

    values = "; ".join(
        f"{name}: " + ", ".join(f"{row} {e.mean:.3f}" for row, e in estimates.items())
        for name, estimates in series.items()
    )
    height = 34 + above + step * len(rows)
    return Panel(title, f"{label}. {values}", draw, width=width, height=height, left=left, top=above)
