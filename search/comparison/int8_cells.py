"""How tables show int8 files beside float32: accuracy, size, and latency where it was measured."""

from collections.abc import Callable

from search.comparison.compare import ComparisonRow
from search.results.scale import scale_of

TITLE = "int8 ONNX files beside float32: validation metric, bytes, and milliseconds of one image in onnxruntime"
HEAD = ("float32", "int8", "float32 bytes", "int8 bytes", "float32 ms", "int8 ms")


def int8_cells(row: ComparisonRow, written: Callable[..., str]) -> tuple[str, ...]:
    """Give the cells of a row below `HEAD`; empty ones for what was not measured. written: writes an estimate."""
    scale = scale_of(row.metric)
    accuracies = (written(value, scale=scale) for value in (row.best_val_accuracy, row.quantised_accuracy))
    sizes = ("" if size is None else f"{size:,.0f}" for size in (row.exported_bytes, row.quantised_bytes))
    times = ("" if ms is None else f"{ms:.2f}" for ms in (row.exported_latency_ms, row.quantised_latency_ms))
    return (*accuracies, *sizes, *times)
