"""A comparison in Python: as columns, as a figure, as a table in a notebook."""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from search.comparison.compare import BASELINE, Comparison, ComparisonRow, Estimate
from search.comparison.wording import in_order, network_of, percent, warnings_of
from search.report.html import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = (
    *("network", "sparsity", "policy", "one-shot %", "recalibrated %", "recovered %", "vs uniform", "test %"),
    *("params kept", "MACs kept", "search cost s", "trials", "seeds"),
)
MAP = pa.map_(pa.string(), pa.float64())


class Compared(Comparison):
    """What `search.compare` returns."""

    @property
    def table(self) -> pa.Table:
        """Rows by policy, sparsity and setting. An estimate has three columns: its mean, and its ends, _low and _high.

        `.to_pandas()` turns it into a pandas data frame; Polars and DuckDB read it as it is.
        """
        rows = in_order(self.rows)
        columns: dict[str, pa.Array] = {}
        for name, field in ComparisonRow.model_fields.items():
            values = [getattr(row, name) for row in rows]
            if field.annotation in (Estimate, Estimate | None):
                for end in ("mean", "low", "high"):
                    numbers = [getattr(estimate, end, None) for estimate in values]
                    columns[name if end == "mean" else f"{name}_{end}"] = pa.array(numbers, pa.float64())
            elif name == "layers":
                columns[name] = pa.array([list(densities.items()) for densities in values], MAP)
            else:
                columns[name] = pa.array(values)
        return pa.table(columns)

    def plot(self, **options: Any) -> "Figure":
        """Draw accuracy against sparsity, as `search.report.plot` does with these options."""
        from search.report.write import plot  # importing it takes a second

        return plot(self, **options)

    def _repr_html_(self) -> str:
        """Show the main columns in a notebook."""
        return render(
            "notebook.html",
            study=self.study,
            head=HEAD,
            rows=[_cells(row) for row in in_order(self.rows)],
            warnings=[*warnings_of(self.rows), *self.warnings],
        )


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    return (
        *(network_of(row), f"{row.sparsity:g}", row.policy + (" (control)" if row.control else "")),
        *map(percent, (row.one_shot_accuracy, row.recalibrated_accuracy, row.best_val_accuracy)),
        "" if row.policy == BASELINE else percent(row.gap_to_uniform, signed=True),
        percent(row.test_accuracy),
        f"{row.params_kept:,} ({row.params_density:.1%})",
        f"{row.macs_kept:,} ({row.macs_density:.1%})",
        *(f"{row.search_cost_seconds:.2f}", str(row.trials), ", ".join(map(str, row.seeds))),
    )
