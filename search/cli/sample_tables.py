"""The learnability of samples as tables for the terminal."""

from search.cli.terminal import plain, terminal
from search.samples.summary import Learnability
from search.samples.tables import agreement_table, forgotten_table, found_again_table, left_out, noise_table, scope


def print_learnability(summary: Learnability) -> None:
    """Print whether networks agree, how well measures find flipped labels, and what pruning forgets."""
    print(scope(summary))
    if line := left_out(summary):
        print(line)
    tables = [agreement_table(summary), noise_table(summary), forgotten_table(summary), found_again_table(summary)]
    for table in tables:
        if table.rows:
            shown = plain(table.caption)
            for place, name in enumerate(table.head):
                shown.add_column(name, justify="left" if place < table.words else "right")
            for row in table.rows:
                shown.add_row(*row)
            terminal().print(shown)
