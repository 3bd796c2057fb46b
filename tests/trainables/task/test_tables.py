"""A table is the same data set from every kind of file, and what pandas reads of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from torch.utils.data import DataLoader

from trainables.task.tables import Table

FRAME = pd.DataFrame({"age": [31, 64, 48], "pressure": [120.5, 140.0, 133.25], "sex": ["f", "m", "f"]})


def written(folder: Path, kind: str) -> Path:
    file = folder / f"table{kind}"
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    match kind:
        case ".csv":
            FRAME.to_csv(file, index=False)
        case ".parquet":
            FRAME.to_parquet(file)
        case ".npz":
            np.savez(file, **{name: FRAME[name].to_numpy(dtype="U1" if name == "sex" else None) for name in FRAME})
        case _:
            pyarrow.feather.write_feather(table, str(file))
    return file


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".arrow", ".feather", ".npz"])
def test_rows_are_those_that_pandas_wrote(tmp_path: Path, kind: str) -> None:
    table = Table(written(tmp_path, kind))
    assert [table[row] for row in range(len(table))] == FRAME.to_dict("records")


def test_a_transform_makes_samples_that_torch_collates() -> None:
    table = Table(
        pa.Table.from_pandas(FRAME),
        lambda row: (np.array([row["age"], row["pressure"]], np.float32), int(row["sex"] == "m")),
    )
    inputs, target = next(iter(DataLoader(table, batch_size=3)))  # type: ignore[arg-type]
    assert inputs.tolist() == FRAME[["age", "pressure"]].to_numpy().tolist()
    assert target.tolist() == [0, 1, 0]


def test_arrays_of_several_axes_have_rows() -> None:
    images = np.arange(24.0).reshape(2, 3, 4)
    table = Table({"image": images, "label": [1, 0]})
    np.testing.assert_array_equal(table[1]["image"], images[1])
    assert table[0]["label"] == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("table.xlsx", "a table must be a file with .csv, .parquet, .arrow, .feather, .npz, but got 'table.xlsx'"),
        ({"a": [1, 2], "b": [1]}, r"must have one length, but have {'a': 2, 'b': 1}; correct the table$"),
        ({}, r"must have one length, but have {}"),
        (pa.table({"a": [1, None]}), "must have no missing values, but column 'a' has 1"),
    ],
)
def test_what_is_no_table_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table(source)
