"""Tables from files as data sets: what the splits of a Task may be."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
from numpy.typing import NDArray

Row = dict[str, Any]  # column -> value: a number, a text, or an array of what the rest of its axes hold


class Table:
    """The rows of a table as a map-style data set.

    It takes a pyarrow table, columns by name, or a file: CSV with a header, Parquet, Arrow (also called Feather), or
    NumPy's .npz of arrays whose first axis are the rows. All of it is held in memory.
    """

    def __init__(
        self,
        source: pa.Table | Mapping[str, Sequence[Any] | NDArray[Any]] | str | Path,
        transform: Callable[[Row], Any] = dict,
    ) -> None:
        """transform: row -> sample.

        Raises ValueError for another kind of file, for columns of different lengths, and for missing values.
        """
        columns = _read(Path(source)) if isinstance(source, str | Path) else source
        columns = _columns(columns) if isinstance(columns, pa.Table) else dict(columns)
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of a table must have one length, but have {lengths}; correct the table")
        self._columns, self._length, self._transform = columns, next(iter(lengths.values())), transform

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> Any:
        return self._transform({name: values[row] for name, values in self._columns.items()})


def _read(file: Path) -> pa.Table | dict[str, NDArray[Any]]:
    if file.suffix not in READERS:
        raise ValueError(f"a table must be a file with {', '.join(READERS)}, but got {str(file)!r}; convert it")
    return READERS[file.suffix](file)


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    with np.load(file) as arrays:  # refuses pickles
        return dict(arrays)


def _columns(table: pa.Table) -> dict[str, Sequence[Any] | NDArray[Any]]:
    """Numbers become arrays, as reading a row of Arrow's takes a hundred times as long; texts and lists are objects."""
    for column, values in zip(table.column_names, table.columns, strict=True):
        if values.null_count:
            raise ValueError(
                f"a table must have no missing values, but column {column!r} has {values.null_count}; fill them, or "
                "leave their rows out"
            )
    return {
        name: values.to_numpy() if pa.types.is_primitive(values.type) else values.to_pylist()
        for name, values in zip(table.column_names, table.columns, strict=True)
    }


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": pyarrow.csv.read_csv,
    ".parquet": pq.read_table,
    ".arrow": pyarrow.feather.read_table,
    ".feather": pyarrow.feather.read_table,
    ".npz": _arrays,
}
