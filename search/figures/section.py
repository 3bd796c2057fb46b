"""A section of a page: one question, answered by charts and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from search.figures import chart
from search.figures.chart import Panel


@dataclass(frozen=True)
class Table:
    """Rows of text with a caption. The first `words` columns are words, the others are numbers."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


@dataclass(frozen=True)
class Section:
    """One question, answered by charts and tables; `text` says how to read them, or why there are none."""

    name: str  # of its files, and of its anchor in the page
    title: str
    text: str
    groups: Mapping[str, Sequence[Panel]] = field(default_factory=dict)  # heading -> panels
    tables: Sequence[Table] = ()
    columns: int = 3  # panels side by side in a file

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show: no chart, and no row in any table."""
        return not self.groups and not any(table.rows for table in self.tables)


def figures(sections: Sequence[Section], footer: str) -> dict[str, bytes]:
    """Draw each section that has charts as PNG and SVG: file name -> content."""
    drawn = {section.name: sheet(section, footer) for section in sections if section.groups}
    return {f"{name}.{kind}": chart.to_file(figure, kind) for name, figure in drawn.items() for kind in ("png", "svg")}


def sheet(section: Section, footer: str = "") -> Figure:
    """Draw all panels of a section into one figure."""
    return chart.compose(section.groups, section.columns, section.title, footer)
