"""How tables look in a terminal, a file or a pipe."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 130  # characters of a line in a file or a pipe


def terminal() -> Console:
    """Return a console that prints text unchanged. Tables in files and pipes are WIDTH characters wide."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def plain(title: str) -> Table:
    """Make a table without frames, in which columns of words break a long name instead of cutting it."""
    return _Breaking(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


class _Breaking(Table):
    def add_column(self, *header: Any, **settings: Any) -> None:
        """Add a column as in rich. A number at the right is marked where it is cut: broken, it would be two numbers."""
        super().add_column(*header, **settings)
        column = self.columns[-1]
        if column.justify == "left" and not column.no_wrap:
            column.overflow = "fold"
