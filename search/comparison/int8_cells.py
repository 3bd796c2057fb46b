"""How tables show int8 files beside float32: accuracy, size, and latency where it was measured."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from search.comparison.compare import ComparisonRow
from search.results.scale import scale_of


class Int8Cells(NamedTuple):
    """A table of int8 files, without the columns that name its rows."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def int8_cells(rows: Sequence[ComparisonRow], written: Callable[..., str]) -> Int8Cells:
    """Write what is known of the int8 files of rows that have them. written: writes an estimate on a scale."""
    timed = any(row.quantised_latency_ms is not None for row in rows)
    title = "int8 ONNX files beside float32: validation metric, bytes"
    head: tuple[str, ...] = ("float32", "int8", "float32 bytes", "int8 bytes")
    if timed:
        title, head = f"{title}, milliseconds of one batch in onnxruntime", (*head, "float32 ms", "int8 ms")
    return Int8Cells(title, head, [_cells(row, written)[: len(head)] for row in rows])


def _cells(row: ComparisonRow, written: Callable[..., str]) -> tuple[str, ...]:
    scale = scale_of(row.metric)
    accuracies = (written(value, scale=scale) for value in (row.best_val_accuracy, row.quantised_accuracy))
    sizes = ("" if size is None else f"{size:,.0f}" for size in (row.exported_bytes, row.quantised_bytes))
    times = ("" if ms is None else f"{ms:.2f}" for ms in (row.exported_latency_ms, row.quantised_latency_ms))
    return (*accuracies, *sizes, *times)
