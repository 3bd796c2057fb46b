"""Files of one network's profile and probes: JSON, Parquet, and a figure. Parts and blocks go from input to output."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from search.figures.chart import HUES, INK, NORMAL, SMALL, house_style, to_file
from search.networks.probe import BlockReading, Probing
from search.networks.profile import Compactness
from search.results.scale import scale_of, sign_of
from search.results.to_json import to_json
from trainables.allocation.profiles import FALLS, to_parquet
from trainables.artifacts.probes import to_parquet as curve_to_parquet
from trainables.counts import quantity
from trainables.frozen import Frozen
from trainables.pruning.probe_order import ProbeResult
from trainables.spec import BudgetKind

LOST = (0, 1, 2, 5, 10, 20, 40, 100)  # points between one shade and the next
SHADES = ("#ffffff", "#fdeebe", "#fbd08a", "#f3a25f", "#dd6b4d", "#a93a55", "#4b1d52")  # each darker than the last
BARS = ("#17344f", "#5b8db8", "#c9dcec")  # one for each of FALLS, each lighter than the last
ROW = 0.17  # inches
UNITS: Mapping[BudgetKind, str] = {"params": "weights", "macs": "multiply-accumulates"}


def write_profile(found: Compactness, out: Path) -> list[Path]:
    """Write profile.json, curves.parquet, profile.png and profile.svg into a folder; return their paths."""
    return _write(out, "profile", found, {"curves.parquet": to_parquet(found.profile)}, profile_figure(found))


def profile_figure(found: Compactness) -> Figure:
    """Draw lost accuracy over sparsity as shades; beside it, as bars, the sparsities that lose 1, 2 and 5 points."""
    with house_style():
        return _profile_figure(found)


def _profile_figure(found: Compactness) -> Figure:
    rows = len(found.parts)
    height = ROW * max(rows, 8)
    figure = Figure(figsize=(9, 1.5 + height), layout="constrained")
    (shades, legend), (left, right) = figure.subplots(2, 2, sharey="row", height_ratios=(0.12, height))
    mesh = _lost(left, found)
    bar = figure.colorbar(mesh, cax=shades, orientation="horizontal", ticklocation="top")
    scale = scale_of(found.metric)
    lost = "points" if scale.points else "% of the dense value"
    bar.set_label(f"{scale.metric} lost ({lost}); hatched: never removed")
    shades.grid(visible=False)
    legend.axis("off")
    _tolerated(right, legend, found)
    for axis in (left, right):
        axis.set_xlim(0, 100)
        axis.set_xticks(range(0, 101, 10))
        axis.set_xlabel(f"{found.granularity}s removed from this part alone (%)")
    left.set_ylim(rows - 0.5, -0.5)
    left.set_yticks(range(rows), [f"{part.name} ({_short(part.weights)})" for part in found.parts])
    left.set_ylabel("part (weights)")
    figure.suptitle(
        f"{found.model}, {found.granularity}s by {found.criterion}: dense {scale.metric} "
        f"{scale.text(sign_of(found) * found.profile.dense_accuracy)} on "
        f"{quantity(found.calibration, 'training sample')}, "
        f"{'compensated, ' if found.compensated else ''}nothing retrained",
        fontsize=NORMAL + 2,
    )
    return figure


def _lost(axis: Axes, found: Compactness) -> QuadMesh:
    """Shade the row of each part by what is lost of the metric, interpolated between two levels."""
    edges = np.linspace(0, 100, 401)
    centres = (edges[1:] + edges[:-1]) / 200
    lost, point = [], scale_of(found.metric).fall(1, found.profile.dense_accuracy)
    for part in found.parts:
        accuracy = np.minimum.accumulate(found.profile.accuracy[part.name])
        points = (accuracy[0] - np.interp(centres, part.sparsities, accuracy)) / point
        lost.append(np.where(centres > part.sparsities[-1], np.nan, points))
    axis.grid(visible=False)
    axis.patch.set(hatch="//////", edgecolor="grey")
    shades = ListedColormap(list(SHADES)).with_extremes(bad="none")
    rows = np.arange(len(lost) + 1) - 0.5
    norm = BoundaryNorm(LOST, len(SHADES))
    mesh = axis.pcolormesh(edges, rows, np.array(lost), cmap=shades, norm=norm, rasterized=True)
    axis.hlines(rows, 0, 100, color="white", linewidth=0.6)
    return mesh


def _tolerated(axis: Axes, legend: Axes, found: Compactness) -> None:
    """Draw bars within one another: a greater fall has a longer and lighter bar."""
    rows, scale = range(len(found.parts)), scale_of(found.metric)
    bars = [
        axis.barh(rows, [100 * part.tolerated[points] for part in found.parts], height=0.8, color=colour)
        for points, colour in reversed(tuple(zip(FALLS, BARS, strict=True)))
    ]
    axis.grid(axis="y", visible=False)
    legend.legend(
        bars[::-1],
        [scale.step(points) for points in FALLS],
        title=f"removed before {scale.falls}",
        ncols=len(FALLS),
        fontsize=NORMAL,
        title_fontsize=NORMAL,
        loc="center",
        frameon=False,
    )


def write_probes(found: Probing, out: Path) -> list[Path]:
    """Write probes.json, probes.parquet, probes.png and probes.svg into a folder; return their paths."""
    curve = tuple(ProbeResult(b.name, b.shape[0], b.train_accuracy, b.val_accuracy) for b in found.blocks)
    return _write(out, "probes", found, {"probes.parquet": curve_to_parquet(curve)}, probe_figure(found))


def probe_figure(found: Probing) -> Figure:
    """Draw the accuracy of the probe behind each block: filled where the block stays; a line where shapes change."""
    with house_style():
        return _probe_figure(found)


def _probe_figure(found: Probing) -> Figure:
    figure = Figure(figsize=(max(5.0, 1.5 + 0.28 * len(found.blocks)), 4.2), layout="constrained")
    axis = figure.subplots()
    xs = range(len(found.blocks))
    train, val = ([100 * getattr(b, f"{split}_accuracy") for b in found.blocks] for split in ("train", "val"))
    axis.plot(xs, train, color=BARS[2], label="training samples")
    axis.plot(xs, val, color=BARS[0], label="validation samples", zorder=2)
    for fate, face, edge in (
        ("stays", BARS[0], BARS[0]),
        ("always stays", BARS[1], BARS[0]),
        ("goes", "white", HUES[2]),
    ):
        at = [x for x, block in enumerate(found.blocks) if _fate(block) == fate]
        marks = axis.scatter(at, [val[x] for x in at], 30, face, zorder=3, edgecolors=edge, label=fate)
        marks.set_linewidth(1.4)
    for x in xs[1:]:
        if found.blocks[x].shape != found.blocks[x - 1].shape:
            axis.axvline(x - 0.5, color=INK, linewidth=0.5, alpha=0.35)
    axis.set_xticks(xs, [block.name for block in found.blocks], rotation=90, fontsize=SMALL)
    axis.set_xlabel("block, from input to output")
    axis.set_ylabel("accuracy of a linear probe (%)")
    axis.grid(axis="x", visible=False)
    axis.legend(frameon=False)
    shares = {kind: 100 * found.kept[kind] / found.total[kind] for kind in found.kept}
    left = ", ".join(f"{share:.0f} % of {UNITS[kind]}" for kind, share in shares.items())
    axis.set_title(f"{found.model}: a gain of {100 * found.threshold:g} points keeps\n{left}", fontsize=NORMAL + 2)
    return figure


def _fate(block: BlockReading) -> str:
    if not block.kept:
        return "goes"
    return "stays" if block.removable else "always stays"


def _write(out: Path, name: str, found: Frozen, curves: Mapping[str, bytes], figure: Figure) -> list[Path]:
    """Write a result as JSON, its curves, and its figure as PNG and SVG; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    figures = {f"{name}.{kind}": to_file(figure, kind) for kind in ("png", "svg")}
    written = {f"{name}.json": to_json(found, indent=1).encode(), **curves, **figures}
    for file, content in written.items():
        (out / file).write_bytes(content)
    return [out / file for file in written]


def _short(count: int) -> str:
    """Write a count with at most three digits."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
