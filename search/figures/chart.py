"""Panels in one style: alone as SVG in a page, or side by side in a PNG or SVG file. Each policy has a style."""

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1c2024"  # of text and axes; in a page, the colour of its text
HUES = ("#5c6166", "#0072b2", "#d55e00", "#00876a", "#b5548c", "#b07c00", "#2e93cc", "#7a5230")  # after Okabe and Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
DASHES = ((), (5, 1.5), (1.2, 1.2), (5, 1.2, 1.2, 1.2), (8, 2), (3, 1, 1, 1, 1, 1), (2, 3))
SMALL, NORMAL = 7.0, 8.0  # font sizes in points
WIDTH, HEIGHT = 270.0, 200.0  # of a panel in points: 270 points are 360 pixels, the width of a telephone
NAME, GAP = 15.0, 14.0  # points: height of a group's name; gap between panels


@dataclass(frozen=True)
class Style:
    """How one policy is drawn. Hue, marker and dashes differ, so policies differ without colour, too."""

    hue: str
    marker: str
    dashes: tuple[float, ...]

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` for a line with markers."""
        return {**self.point, "linestyle": (0, self.dashes) if self.dashes else "-", "linewidth": 1.3}

    @property
    def point(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` for markers without a line."""
        return {
            "color": self.hue,
            "marker": self.marker,
            "markersize": 4.2,
            "markeredgewidth": 0.0,
            "linestyle": "none",
        }


def styles(policies: Sequence[str]) -> dict[str, Style]:
    """Give each policy a style, by its position in the list."""
    return {
        policy: Style(HUES[i % len(HUES)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, policy in enumerate(policies)
    }


@dataclass(frozen=True)
class Panel:
    """One set of axes. Sizes and margins are in points. A screen reader reads the description."""

    title: str
    description: str
    draw: Callable[[Axes], None]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = 36.0
    right: float = 8.0
    bottom: float = 32.0
    top: float = 18.0


def compose(groups: Mapping[str, Sequence[Panel]], columns: int = 1, heading: str = "", footer: str = "") -> Figure:
    """Draw groups of panels into a figure: each group under its name, `columns` panels side by side."""
    wide = max(panel.width for panels in groups.values() for panel in panels)
    rows: list[tuple[str, Sequence[Panel]]] = []
    for name, panels in groups.items():
        rows += [(name if i == 0 else "", panels[i : i + columns]) for i in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in panels) + (NAME if name else 0.0) for name, panels in rows]
    across = max(len(panels) for _, panels in rows)
    texts = [(heading, NORMAL + 3), (footer, SMALL - 1), *((name, NORMAL + 1.5) for name in groups)]
    width = max(across * (wide + GAP) - GAP, *(4 + 0.62 * size * len(text) for text, size in texts))
    height = sum(heights) + GAP * (len(rows) - 1) + (2 * NAME if heading else 0.0) + (NAME if footer else 0.0)
    with house_style():
        figure = Figure(figsize=(width / 72, height / 72))

        def write(text: str, below: float, size: float, **how: Any) -> None:
            figure.text(2 / width, below / height, text, fontsize=size, va="top", **how)

        top = height
        if heading:
            write(heading, top - 4, NORMAL + 3, fontweight="bold")
            top -= 2 * NAME
        for (name, panels), high in zip(rows, heights, strict=True):
            if name:
                write(name, top - 2, NORMAL + 1.5)
            for i, panel in enumerate(panels):
                _add(figure, panel, i * (wide + GAP), top - (NAME if name else 0.0))
            top -= high + GAP
        if footer:
            write(footer, SMALL + 3, SMALL - 1, alpha=0.75)
    return figure


def _add(figure: Figure, panel: Panel, left: float, top: float) -> None:
    """Draw a panel. `left` and `top`: its upper left corner, in points from the lower left corner of the figure."""
    width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
    inner = panel.width - panel.left - panel.right, panel.height - panel.bottom - panel.top
    corner = left + panel.left, top - panel.height + panel.bottom
    axis = figure.add_axes((corner[0] / width, corner[1] / height, inner[0] / width, inner[1] / height))
    panel.draw(axis)
    title = (left + 2) / width, (top - NORMAL - 2) / height
    figure.text(*title, panel.title, fontsize=NORMAL + 0.5, fontweight="bold")


def to_file(figure: Figure, kind: str) -> bytes:
    """Write a figure as "png" or "svg" on white. The same figure gives the same bytes."""
    sink = BytesIO()
    with house_style():
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(sink, format=kind, dpi=200, facecolor="white", metadata=metadata, pad_inches=0.1)
    return sink.getvalue()


def inline(panel: Panel, name: str, share: float) -> str:
    """Write a panel as SVG for a page, in the page's colours and font.

    name: unique among the panels of the page. share: its width, as a fraction of the section's widest panel.
    """
    sink = BytesIO()
    with house_style(name):
        compose({"": [panel]}).savefig(sink, format="svg", transparent=True, metadata={"Date": None})
    svg = sink.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(?:figure|axes|patch|text|line2d|matplotlib|xtick|ytick|[A-Z]\w*Collection)[\w.]*"', "", svg)
    svg = re.sub(r"(\d\.\d{2})\d+(?![\d<])", r"\1", svg)
    svg = re.sub(r"(?<=[;'\"\s])(font: (?:bold )?[\d.]+px) [^;\"]*", r"\1 var(--font)", svg)
    svg = re.sub(r"\n\s*", "\n", svg).replace(INK, "currentColor")
    for i, hue in enumerate(HUES):
        svg = svg.replace(hue, f"var(--hue{i})")
    width, height = f"{panel.width:g}", f"{panel.height:g}"
    svg = re.sub(r"<svg [^>]*>", "", svg, count=1)
    labels = f"<title>{html.escape(panel.title)}</title><desc>{html.escape(panel.description)}</desc>"
    return (
        f'<svg role="img" viewBox="0 0 {width} {height}" style="--s:{share:.4g}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{labels}{svg}'
    )


def label_width(policies: Sequence[str]) -> float:
    """Width in points of the longest of these names, with its marker, at the right of a panel."""
    return 18.0 + 0.58 * SMALL * max(map(len, policies), default=0)


def end_labels(axis: Axes, ends: Mapping[str, float], style_of: Mapping[str, Style]) -> None:
    """Name each line at its right end. ends: policy -> last value. Names that would touch move apart."""
    for name, (end, height) in label_heights(axis, ends).items():
        axis.plot([1.0, 1.035], [end, height], transform=axis.transAxes, clip_on=False, color=INK, lw=0.4, alpha=0.5)
        _name(axis, name, style_of[name], height)


def label_heights(axis: Axes, ends: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Give the height of each value and of its name, both from 0 to 1 on the axis. Names do not touch."""
    low, high = axis.get_ylim()
    points = axis.get_position().height * axis.figure.get_figheight() * 72  # type: ignore[union-attr]
    wanted = {name: min(1.0, max(0.0, (value - low) / (high - low))) for name, value in ends.items()}
    return {name: (wanted[name], height) for name, height in _apart(wanted, (SMALL + 1.5) / points).items()}


def legend(axis: Axes, policies: Sequence[str], style_of: Mapping[str, Style]) -> None:
    """List policies with their markers at the right, from the top down."""
    points = axis.get_position().height * axis.figure.get_figheight() * 72  # type: ignore[union-attr]
    step = min((SMALL + 2.5) / points, 1.0 / max(1, len(policies)))
    for i, name in enumerate(policies):
        _name(axis, name, style_of[name], 0.97 - i * step)


def _name(axis: Axes, name: str, style: Style, height: float) -> None:
    points = axis.get_position().width * axis.figure.get_figwidth() * 72  # type: ignore[union-attr]
    axis.plot([1 + 9 / points], [height], transform=axis.transAxes, clip_on=False, **style.point)
    axis.text(1 + 14 / points, height, name, transform=axis.transAxes, fontsize=SMALL, va="center_baseline")


def _apart(wanted: Mapping[str, float], gap: float) -> dict[str, float]:
    """Move heights in [0, 1] apart until neighbours have `gap` between them; their order stays."""
    names = sorted(wanted, key=lambda name: wanted[name])
    heights: list[float] = []
    for name in names:
        heights.append(max(wanted[name], heights[-1] + gap) if heights else wanted[name])
    ceiling = max(1.0, gap * (len(names) - 1))
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    return dict(zip(names, heights, strict=True))


@contextmanager
def house_style(salt: str = "howcompact") -> Iterator[None]:
    """Set what all figures share: fonts, colours, grid. salt: what the ids in an SVG depend on."""
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": salt,
            "font.size": NORMAL,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "axes.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelsize": NORMAL,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": INK,
            "grid.alpha": 0.15,
            "grid.linewidth": 0.5,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": SMALL,
            "ytick.labelsize": SMALL,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "axes.labelpad": 2.5,
        }
    ):
        yield
