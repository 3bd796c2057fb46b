"""Each policy beside the best one of its cell, as a table for the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.table import Table

from search.cli.terminal import plain
from search.comparison.best_rivals import AgainstBest, RowKey, key_of
from search.comparison.compare import ComparisonRow
from search.comparison.wording import holm_of, seeds_more_of, verdict_of, written
from search.results.names import differing, policy_name
from search.results.scale import scale_of


def against_best_table(rows: Sequence[ComparisonRow], pairs: Mapping[RowKey, AgainstBest], margin: float) -> Table:
    """Tell for each row whether it is better than, worse than or equivalent to the best policy of its cell.

    pairs: as `against_best` finds them. margin: as a comparison has it.
    """
    differs, scale = differing(rows), scale_of(rows[0].metric)
    table = plain(
        f"{scale.points or scale.metric} ahead of the best policy of the cell, paired by seed:\n"
        f"mean, 95 % interval (Student's), verdict at 5 % with a margin of\n"
        f"{scale.difference(margin)}, seeds more that would decide, p after Holm"
    )
    for name in ("sparsity", "policy", "best", "gap", "verdict", "seeds more", "Holm"):
        words = name in ("policy", "best", "verdict")
        table.add_column(name, justify="left" if words else "right", no_wrap=name not in ("policy", "verdict"))
    shown = [(row, pairs[key_of(row)]) for row in rows if key_of(row) in pairs]
    for _, same_sparsity in groupby(shown, key=lambda each: each[0].sparsity):
        for row, (pair, seeds) in same_sparsity:
            table.add_row(
                *(f"{row.sparsity:g}", policy_name(row, differs), pair.rival),
                *(written(pair.gap, signed=True, too_few=" ±?", more_digits=1, scale=scale), verdict_of(pair, seeds)),
                *(seeds_more_of(pair), holm_of(pair)),
            )
        table.add_section()
    return table
