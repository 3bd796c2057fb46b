"""A comparison in Python: as columns, as a figure, as a table in a notebook."""

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from search.comparison.best_rivals import AgainstBest, against_best, key_of
from search.comparison.compare import BASELINE, Comparison, ComparisonRow
from search.comparison.wording import in_order, network_of, verdict_of, warnings_of, written
from search.report.columns import pairs_to_columns, to_columns
from search.report.html import render
from search.results.scale import scale_of
from trainables.counts import quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = (
    *(
        "network",
        "sparsity",
        "policy",
        "one-shot",
        "recalibrated",
        "compensated",
        "recovered",
        "int8",
        "vs uniform",
        "vs best",
        "test",
    ),
    *("params kept", "MACs kept", "search cost s", "trials", "seeds"),
)


class Compared(Comparison):
    """What `search.compare` returns."""

    @property
    def table(self) -> pa.Table:
        """Rows by policy, sparsity and setting. An estimate has three columns: its mean, and its ends, _low and _high.

        `.to_pandas()` turns it into a pandas data frame; Polars and DuckDB read it as it is.
        """
        return to_columns(self)

    @property
    def pairs_table(self) -> pa.Table:
        """Pairs of policies; `setting`, `sparsity` and `policy` are those of `.table`. No rows without a margin."""
        return pairs_to_columns(self)

    def __repr__(self) -> str:
        """Say what was compared, in one line; `.rows`, `.table` and `.model_dump()` have the numbers."""
        policies = ", ".join(dict.fromkeys(row.policy for row in in_order(self.rows)))
        return (
            f"<comparison of {self.study}: {quantity(len(self.rows), 'row')} of {policies}; see .rows, "
            ".table, .headline, .plot()>"
        )

    __str__ = __repr__

    def plot(self, **options: Any) -> "Figure":
        """Draw accuracy, or another metric, against sparsity, as `search.report.plot` does with these options."""
        from search.report.write import plot  # importing it takes a second

        return plot(self, **options)

    def _repr_html_(self) -> str:
        """Show the main columns in a notebook."""
        pairs = against_best(self)
        return render(
            "notebook.html",
            study=self.study,
            head=HEAD,
            rows=[_cells(row, pairs.get(key_of(row))) for row in in_order(self.rows)],
            warnings=[*warnings_of(self.rows), *self.warnings],
        )


def _cells(row: ComparisonRow, best: AgainstBest | None) -> tuple[str, ...]:
    shown = partial(written, scale=scale_of(row.metric))
    return (
        *(network_of(row), f"{row.sparsity:g}", row.policy + (" (control)" if row.control else "")),
        *map(shown, (row.one_shot_accuracy, row.recalibrated_accuracy)),
        *map(shown, (row.compensated_accuracy, row.best_val_accuracy, row.quantised_accuracy)),
        "" if row.policy == BASELINE else shown(row.gap_to_uniform, signed=True),
        f"{shown(best.pair.gap, signed=True, more_digits=1)}, {verdict_of(*best)}" if best else "",
        shown(row.test_accuracy),
        f"{row.params_kept:,} ({row.params_density:.1%})",
        f"{row.macs_kept:,} ({row.macs_density:.1%})",
        *(f"{row.search_cost_seconds:.2f}", str(row.trials), ", ".join(map(str, row.seeds))),
    )
