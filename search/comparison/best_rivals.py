"""How far each policy is from the best one of its cell."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from search.comparison.compare import Comparison, ComparisonRow
from search.comparison.left_out import OTHER_SEEDS
from search.comparison.pairs import Pair
from search.results.scale import sign_of

RowKey = tuple[str, float, str]


class AgainstBest(NamedTuple):
    """The pair of a row with the best row of its cell, which is the rival."""

    pair: Pair
    seeds: int  # of the best row; the pair has fewer where the other row lacks some, or keeps another budget there


def key_of(row: ComparisonRow) -> RowKey:
    """Name a row by its setting, sparsity and policy."""
    return row.setting, row.sparsity, row.policy


def best_of(rows: Iterable[ComparisonRow]) -> ComparisonRow:
    """Find the best row of a cell: the best mean of the metric after recovery among the rows with the most seeds.

    A mean over fewer seeds does not make a row the best: the seeds that it lacks may be the hard ones. Rows with a
    warning, other than on their seeds, count only where all rows have one. Of equal rows the first one is the best.
    """

    def rank(row: ComparisonRow) -> tuple[bool, int, float]:
        return {*row.warnings} <= {OTHER_SEEDS}, len(row.seeds), sign_of(row) * row.best_val_accuracy.mean

    return max(rows, key=rank)


def against_best(comparison: Comparison) -> Mapping[RowKey, AgainstBest]:
    """Find the pair of each row with the best row of its setting and sparsity, as `best_of` finds it.

    The best row itself has no pair, and neither has a row that shares no seed and budget with it.
    """
    cells: dict[tuple[str, float], list[ComparisonRow]] = {}
    for row in comparison.rows:
        cells.setdefault((row.setting, row.sparsity), []).append(row)
    best = {cell: best_of(rows) for cell, rows in cells.items()}
    found: dict[RowKey, AgainstBest] = {}
    for pair in comparison.pairs:
        leader = best[pair.setting, pair.sparsity]
        if leader.policy in (pair.policy, pair.rival):
            own = pair if pair.rival == leader.policy else pair.swapped()
            found[own.setting, own.sparsity, own.policy] = AgainstBest(own, len(leader.seeds))
    return found
