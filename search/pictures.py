"""What a profile looks like: a row for each part, from input to output."""

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from search.profiling import FALLS, Compactness
from trainables.allocation.profiles import to_parquet

LOST = (0, 1, 2, 5, 10, 20, 40, 100)  # points of accuracy: where one shade ends and the next begins
SHADES = ("#ffffff", "#fdeebe", "#fbd08a", "#f3a25f", "#dd6b4d", "#a93a55", "#4b1d52")  # each darker than the last
BARS = ("#17344f", "#5b8db8", "#c9dcec")  # of the falls, each lighter than the last
ROW = 0.17  # inches


def write_profile(found: Compactness, out: Path) -> list[Path]:
    """Write profile.json, the curves as Parquet and the picture as PNG and SVG into a folder; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    figure = picture(found)
    written = {
        "profile.json": found.model_dump_json(indent=1).encode(),
        "curves.parquet": to_parquet(found.profile),
        "profile.png": image(figure, "png"),
        "profile.svg": image(figure, "svg"),
    }
    for name, content in written.items():
        (out / name).write_bytes(content)
    return [out / name for name in written]


def picture(found: Compactness) -> Figure:
    """Accuracy lost over sparsity, in shades; beside it, as bars, the sparsities that cost 1, 2 and 5 points."""
    rows = len(found.parts)
    height = ROW * max(rows, 8)
    figure = Figure(figsize=(9, 1.5 + height), layout="constrained")
    (shades, legend), (left, right) = figure.subplots(2, 2, sharey="row", height_ratios=(0.12, height))
    mesh = _lost(left, found)
    bar = figure.colorbar(mesh, cax=shades, orientation="horizontal", ticklocation="top")
    bar.set_label("accuracy lost (points); hatched: never removed", fontsize=9)
    shades.tick_params(labelsize=8)
    legend.axis("off")
    _tolerated(right, legend, found)
    for axis in (left, right):
        axis.set_xlim(0, 100)
        axis.set_xticks(range(0, 101, 10))
        axis.tick_params(labelsize=8)
        axis.set_xlabel(f"{found.granularity}s removed from this part alone (%)", fontsize=9)
    left.set_ylim(rows - 0.5, -0.5)
    left.set_yticks(range(rows), [f"{part.name} ({_short(part.weights)})" for part in found.parts], fontsize=7)
    left.set_ylabel("part (its weights), from input to output", fontsize=9)
    figure.suptitle(
        f"{found.model}, {found.granularity}s by {found.criterion}: dense accuracy "
        f"{100 * found.profile.dense_accuracy:.1f} % on {found.calibration:,} training samples, nothing retrained",
        fontsize=10,
    )
    return figure


def _lost(axis: Axes, found: Compactness) -> QuadMesh:
    """Shade each part's row by the points of accuracy lost so far, on a straight line between two levels."""
    edges = np.linspace(0, 100, 401)
    centres = (edges[1:] + edges[:-1]) / 200
    lost = []
    for part in found.parts:
        accuracy = np.minimum.accumulate(found.profile.accuracy[part.name])
        points = 100 * (accuracy[0] - np.interp(centres, part.sparsities, accuracy))
        lost.append(np.where(centres > part.sparsities[-1], np.nan, points))
    axis.patch.set(hatch="//////", edgecolor="grey")
    shades = ListedColormap(list(SHADES)).with_extremes(bad="none")
    rows = np.arange(len(lost) + 1) - 0.5
    norm = BoundaryNorm(LOST, len(SHADES))
    mesh = axis.pcolormesh(edges, rows, np.array(lost), cmap=shades, norm=norm, rasterized=True)
    axis.hlines(rows, 0, 100, color="white", linewidth=0.6)
    return mesh


def _tolerated(axis: Axes, legend: Axes, found: Compactness) -> None:
    """Draw bars within one another: the greater the fall, the longer and the lighter."""
    rows = range(len(found.parts))
    bars = [
        axis.barh(rows, [100 * part.tolerated[points] for part in found.parts], height=0.8, color=colour)
        for points, colour in reversed(tuple(zip(FALLS, BARS, strict=True)))
    ]
    axis.grid(axis="x", color="black", linewidth=0.4, alpha=0.25)
    legend.legend(
        bars[::-1],
        [f"{points} point{'s' if points > 1 else ''}" for points in FALLS],
        title="removed when accuracy has fallen by",
        ncols=len(FALLS),
        fontsize=8,
        title_fontsize=9,
        loc="center",
        frameon=False,
    )


def image(figure: Figure, kind: str) -> bytes:
    """Write a figure as "png" or "svg"; the same figure gives the same bytes."""
    sink = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "howcompact"}):
        figure.savefig(sink, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    return sink.getvalue()


def _short(count: int) -> str:
    """Write a count with three figures at most."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
