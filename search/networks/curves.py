"""What a profile looks like: a row for each part, from input to output; and what probes do: a curve over the blocks."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from search.networks.probe import BlockReading, Probing
from search.networks.profile import Compactness
from trainables.allocation.profiles import FALLS, to_parquet
from trainables.artifacts.probes import to_parquet as curve_to_parquet
from trainables.pruning.probe_order import Probed
from trainables.spec import Frozen

LOST = (0, 1, 2, 5, 10, 20, 40, 100)  # points of accuracy: where one shade ends and the next begins
SHADES = ("#ffffff", "#fdeebe", "#fbd08a", "#f3a25f", "#dd6b4d", "#a93a55", "#4b1d52")  # each darker than the last
BARS = ("#17344f", "#5b8db8", "#c9dcec")  # of the falls, each lighter than the last
ROW = 0.17  # inches


def write_profile(found: Compactness, out: Path) -> list[Path]:
    """Write profile.json, the curves as Parquet and the picture as PNG and SVG into a folder; return their paths."""
    return _write(out, "profile", found, {"curves.parquet": to_parquet(found.profile)}, picture(found))


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


def write_probes(found: Probing, out: Path) -> list[Path]:
    """Write probes.json, the curve as Parquet and the picture as PNG and SVG into a folder; return their paths."""
    curve = tuple(Probed(b.name, b.shape[0], b.train_accuracy, b.val_accuracy) for b in found.blocks)
    return _write(out, "probes", found, {"probes.parquet": curve_to_parquet(curve)}, probe_curve(found))


def probe_curve(found: Probing) -> Figure:
    """Accuracy of the probe behind each block; filled where the block stays, a line where feature maps change shape."""
    figure = Figure(figsize=(max(5.0, 1.5 + 0.28 * len(found.blocks)), 4.2), layout="constrained")
    axis = figure.subplots()
    places = range(len(found.blocks))
    train, val = ([100 * getattr(b, f"{split}_accuracy") for b in found.blocks] for split in ("train", "val"))
    axis.plot(places, train, color=BARS[2], label="training samples")
    axis.plot(places, val, color=BARS[0], label="validation samples", zorder=2)
    for told, face, edge in (
        ("stays", BARS[0], BARS[0]),
        ("always stays", BARS[1], BARS[0]),
        ("goes", "white", SHADES[4]),
    ):
        those = [place for place, block in enumerate(found.blocks) if _fate(block) == told]
        marks = axis.scatter(those, [val[place] for place in those], 30, face, zorder=3, edgecolors=edge, label=told)
        marks.set_linewidth(1.4)
    for place in places[1:]:
        if found.blocks[place].shape != found.blocks[place - 1].shape:
            axis.axvline(place - 0.5, color="black", linewidth=0.5, alpha=0.35)
    axis.set_xticks(places, [block.name for block in found.blocks], rotation=90, fontsize=7)
    axis.set_xlabel("block, from input to output", fontsize=9)
    axis.set_ylabel("accuracy of a linear probe (%)", fontsize=9)
    axis.grid(axis="y", color="black", linewidth=0.4, alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
    shares = {kind: 100 * found.kept[kind] / found.total[kind] for kind in found.kept}
    left = ", ".join(f"{share:.0f} % of {kind}" for kind, share in shares.items())
    axis.set_title(f"{found.model}: a gain of {100 * found.threshold:g} points keeps\n{left}", fontsize=10)
    return figure


def _fate(block: BlockReading) -> str:
    if not block.kept:
        return "goes"
    return "stays" if block.removable else "always stays"


def _write(out: Path, name: str, found: Frozen, curves: Mapping[str, bytes], figure: Figure) -> list[Path]:
    """Write what was found as JSON, its curves, and its picture as PNG and SVG; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {f"{name}.{kind}": image(figure, kind) for kind in ("png", "svg")}
    written = {f"{name}.json": found.model_dump_json(indent=1).encode(), **curves, **pictures}
    for file, content in written.items():
        (out / file).write_bytes(content)
    return [out / file for file in written]


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
