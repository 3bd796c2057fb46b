"""A comparison as columns, for pandas, Polars, DuckDB and spreadsheets."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from search.comparison.compare import Comparison, ComparisonRow, Estimate
from search.comparison.pairs import Pair
from search.comparison.wording import in_order
from search.results.scale import ACCURACY, public_name

MAP = pa.map_(pa.string(), pa.float64())
OF_STUDY = {"other_metrics": "best_val_accuracy", "test_other_metrics": "test_accuracy"}  # the same of its metric
TYPES: dict[Any, pa.DataType] = {  # of columns that may hold nothing to tell their type by
    list[str]: pa.list_(pa.string()),
    float | None: pa.float64(),
    int | None: pa.int64(),
}


def to_columns(comparison: Comparison) -> pa.Table:
    """Rows by policy, sparsity and setting. An estimate has three columns: its mean, and its ends, _low and _high.

    The other metrics of a task have columns of their own: best_val_r2, test_r2.
    """
    return _columns(ComparisonRow, in_order(comparison.rows))


def pairs_to_columns(comparison: Comparison) -> pa.Table:
    """Pairs of policies, in the order of the comparison; the gap has three columns, as an estimate in a row has."""
    return _columns(Pair, comparison.pairs)


def _columns(model: type[BaseModel], rows: Sequence[BaseModel]) -> pa.Table:
    metrics = {row.metric for row in rows if isinstance(row, ComparisonRow)}
    metric = metrics.pop() if len(metrics) == 1 else ACCURACY
    columns: dict[str, pa.Array] = {}
    for name, field in model.model_fields.items():
        values, column = [getattr(row, name) for row in rows], public_name(name, metric)
        if field.annotation in (Estimate, Estimate | None):
            columns |= _of_estimates(column, values)
        elif field.annotation == dict[str, Estimate]:
            for other in dict.fromkeys(other for own in values for other in own):
                found = _of_estimates(public_name(OF_STUDY[name], other), [own.get(other) for own in values])
                columns = columns | found | columns  # where studies have several metrics, accuracy's columns hold these
        elif name == "layers":
            columns[column] = pa.array([list(densities.items()) for densities in values], MAP)
        else:
            columns[column] = pa.array(values, TYPES.get(field.annotation))
    return pa.table(columns)


def _of_estimates(name: str, estimates: Sequence[Estimate | None]) -> dict[str, pa.Array]:
    return {
        name if end == "mean" else f"{name}_{end}": pa.array(
            [getattr(own, end, None) for own in estimates], pa.float64()
        )
        for end in ("mean", "low", "high")
    }


def to_csv(table: pa.Table) -> bytes:
    """Write columns as CSV: lists and maps as JSON, a missing value as nothing."""
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(map(_cell, row.values()) for row in table.to_pylist(maps_as_pydicts="strict"))
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict | bool) else value
