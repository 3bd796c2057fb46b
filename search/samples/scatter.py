"""Draws learnability: of two networks against each other with the least-squares line, and its histogram."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from search.figures.chart import HUES, INK, SMALL, Panel, styles

SHADES = LinearSegmentedColormap.from_list("samples", ("#cfe3f2", "#8abcdc", "#3f8cc4", "#135a9c", "#08306b"))
MOST_CELLS = 40  # on an axis
FORMAT = FuncFormatter(lambda value, _: f"{value:g}")  # of logarithmic axes
BESIDE = 44.0  # points, for the colour bar

Floats = NDArray[np.float64]


def least_squares(x: Floats, y: Floats) -> tuple[float, float]:
    """Compute slope and intercept of the least-squares line of y on x. The slope is 0 if x is constant."""
    spread = x.var()
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread else 0.0
    return slope, float(y.mean() - slope * x.mean())


def scatter(x: Floats, y: Floats, names: tuple[str, str], title: str, levels: int) -> Panel:
    """Draw samples with values in [0, 1] as cells; darker cells hold more samples.

    x, y: (N,). levels: number of possible values, from 0 to 1 at equal distances.
    """
    slope, intercept = least_squares(x, y)
    edges = edges_of(levels)
    counts = np.histogram2d(y, x, bins=(edges, edges))[0]

    def draw(axis: Axes) -> None:
        most = max(10.0, counts.max())
        norm, ladder = LogNorm(1, most), np.geomspace(1, most, 65)
        shown = np.ma.masked_equal(counts, 0)
        extent = (edges[0], edges[-1], edges[0], edges[-1])
        axis.imshow(shown, cmap=SHADES, norm=norm, extent=extent, origin="lower", interpolation="none", aspect="auto")
        axis.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (1, 2)))
        ends = np.array([0.0, 1.0])
        axis.plot(
            ends,
            slope * ends + intercept,
            color=HUES[2],
            lw=1.6,
            path_effects=[withStroke(linewidth=3.4, foreground="white")],
        )
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(edges[0], edges[-1])
        axis.set_xlabel(f"learnability in {names[0]}")
        axis.set_ylabel(f"learnability in {names[1]}")
        key = axis.inset_axes((1.04, 0.0, 0.045, 1.0))
        key.pcolormesh([0, 1], ladder, ladder[:-1, None], cmap=SHADES, norm=norm, rasterized=True)
        key.set_yscale("log")
        key.yaxis.tick_right()
        key.yaxis.set_major_formatter(FORMAT)
        key.set_xticks([])
        key.grid(visible=False)
        key.set_title("samples", fontsize=6.5, pad=3)

    description = (
        f"{len(x):,} samples; least-squares line: learnability in {names[1]} = {slope:.3f} times that in {names[0]} "
        f"{'+' if intercept >= 0 else '-'} {abs(intercept):.3f}"
    )
    return Panel(title, description, draw, height=222.0, right=BESIDE, top=28.0)


def histogram(values: Mapping[str, Sequence[Floats]], levels: int) -> Panel:
    """Draw the share of samples in % for each learnability, as the mean over a network's runs.

    values: network -> runs (N,). levels: as in `scatter`.
    """
    looks = styles(list(values))
    edges = edges_of(levels)
    shares = {name: np.mean([_shares(run, edges) for run in runs], axis=0) for name, runs in values.items()}

    def draw(axis: Axes) -> None:
        for name, share in shares.items():
            axis.plot((edges[1:] + edges[:-1]) / 2, share, **looks[name].line, label=name)
        axis.set_ylim(bottom=0)
        axis.set_xlim(edges[0], edges[-1])
        axis.set_xlabel("learnability in a single run")
        axis.set_ylabel("samples (%)")
        legend = axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, fontsize=SMALL, frameon=False,
                             columnspacing=0.8, borderaxespad=0.1)  # fmt: skip
        for text in legend.get_texts():
            text.set_color(INK)

    description = "; ".join(
        f"{name}: {share[-1]:.1f} % of the samples in the highest bin, {share[0]:.1f} % in the lowest"
        for name, share in shares.items()
    )
    return Panel("in a single run", description, draw, top=32.0)


def edges_of(levels: int) -> Floats:
    """Compute the edges of cells that hold the same number of levels each; the last cell may hold fewer.

    levels: number of possible values, from 0 to 1 at equal distances.
    """
    step = math.ceil(levels / MOST_CELLS)
    return (np.arange(0, levels + step, step) - 0.5) / (levels - 1)


def _shares(run: Floats, edges: Floats) -> Floats:
    return np.asarray(100 * np.histogram(run, edges)[0] / len(run))
