"""How far each policy is from the best one of its cell."""

from collections.abc import Mapping

from search.comparison.compare import Comparison, ComparisonRow
from search.comparison.pairs import Pair

RowKey = tuple[str, float, str]


def key_of(row: ComparisonRow) -> RowKey:
    """Name a row by its setting, sparsity and policy."""
    return row.setting, row.sparsity, row.policy


def against_best(comparison: Comparison) -> Mapping[RowKey, Pair]:
    """Find the pair of each row with the best row of its setting and sparsity, which is the rival.

    The best row has the highest mean accuracy after recovery. Rows with a warning count only where all rows have one.
    The best row itself has no pair, and neither has a row that shares no seed and budget with it.
    """
    best: dict[tuple[str, float], ComparisonRow] = {}
    for row in comparison.rows:
        cell = row.setting, row.sparsity
        if cell not in best or _rank(row) > _rank(best[cell]):
            best[cell] = row
    found: dict[RowKey, Pair] = {}
    for pair in comparison.pairs:
        leader = best[pair.setting, pair.sparsity].policy
        if leader in (pair.policy, pair.rival):
            own = pair if pair.rival == leader else pair.swapped()
            found[own.setting, own.sparsity, own.policy] = own
    return found


def _rank(row: ComparisonRow) -> tuple[bool, float]:
    return not row.warnings, row.best_val_accuracy.mean
