"""A section of a page: one question, answered by charts and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from search.figures import chart
from search.figures.chart import Panel


@dataclass(frozen=True)
class Table:
    """Rows of text under a caption; the first `words` columns are words, the others numbers."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


@dataclass(frozen=True)
class Section:
    """One question, answered by charts and tables; `text` says how to read them, or why there are none."""

    name: str  # of its files, and its place in the page
    title: str
    text: str
    groups: Mapping[str, Sequence[Panel]] = field(default_factory=dict)  # heading -> panels
    tables: Sequence[Table] = ()
    columns: int = 3  # of the figure in a file


def figures(sections: Sequence[Section], footer: str) -> dict[str, bytes]:
    """Draw each section that has charts as PNG and SVG: name of the file -> its content."""
    drawn = {section.name: sheet(section, footer) for section in sections if section.groups}
    return {f"{name}.{kind}": chart.to_file(figure, kind) for name, figure in drawn.items() for kind in ("png", "svg")}


def sheet(section: Section, footer: str = "") -> Figure:
    """Draw all panels of a section into one figure."""
    return chart.compose(section.groups, section.columns, section.title, footer)
