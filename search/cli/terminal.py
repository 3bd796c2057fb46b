"""How tables look in a terminal, a file or a pipe."""

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
    """Make a table without frames."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
