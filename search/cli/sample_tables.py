"""The learnability of samples as tables for the terminal."""

from search.cli.terminal import plain, terminal
from search.learnability.summary import Learnability
from search.learnability.tables import agreement_table, forgotten_table, found_again_table, noise_table, scope


def print_learnability(found: Learnability) -> None:
    """Print whether networks agree, how well flipped labels are found, and what pruning forgets."""
    print(scope(found))
    tables = [agreement_table(found), noise_table(found), forgotten_table(found), found_again_table(found)]
    for table in tables:
        if table.rows:
            shown = plain(table.caption)
            for place, name in enumerate(table.head):
                shown.add_column(name, justify="left" if place < table.words else "right")
            for row in table.rows:
                shown.add_row(*row)
            terminal().print(shown)
