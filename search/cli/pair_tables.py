"""Each policy beside the best one of its cell, as a table for the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.table import Table

from search.cli.terminal import plain
from search.comparison.best_rivals import AgainstBest, RowKey, key_of
from search.comparison.compare import ComparisonRow
from search.comparison.wording import holm_of, percent, seeds_more_of, verdict_of
from search.results.names import differing, policy_name


def against_best_table(rows: Sequence[ComparisonRow], pairs: Mapping[RowKey, AgainstBest], margin: float) -> Table:
    """Tell for each row whether it is better than, worse than or equivalent to the best policy of its cell.

    pairs: as `against_best` finds them. margin: a fraction.
    """
    differs = differing(rows)
    table = plain(
        "points ahead of the best policy of the cell, paired by seed:\n"
        f"mean, 95 % interval (Student's), verdict at 5 % with a margin of\n"
        f"{100 * margin:g} points, seeds more that would decide, p after Holm"
    )
    for name in ("sparsity", "policy", "best", "gap", "verdict", "seeds more", "Holm"):
        words = name in ("policy", "best", "verdict")
        table.add_column(name, justify="left" if words else "right", no_wrap=name not in ("policy", "verdict"))
    shown = [(row, pairs[key_of(row)]) for row in rows if key_of(row) in pairs]
    for _, same_sparsity in groupby(shown, key=lambda each: each[0].sparsity):
        for row, (pair, seeds) in same_sparsity:
            table.add_row(
                *(f"{row.sparsity:g}", policy_name(row, differs), pair.rival),
                *(percent(pair.gap, signed=True, too_few=" ±?", digits=2), verdict_of(pair, seeds)),
                *(seeds_more_of(pair), holm_of(pair)),
            )
        table.add_section()
    return table
