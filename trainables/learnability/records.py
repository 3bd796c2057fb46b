"""What a network made of each training sample in each epoch: recorded while it trains, kept as Parquet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trainables.storage.columns import read_columns
from trainables.storage.folder import Folder
from trainables.storage.strict_json import damage_as_error, from_json
from trainables.training.recorder import SAMPLES

SPREAD, ROOM = 64, 1 << 22  # times that samples x epochs may outnumber the rows, and how many in any case


@dataclass(frozen=True, eq=False)
class Records:
    """What was recorded: T epochs of N samples. Where a sample was not drawn, its entries are False or NaN."""

    ids: NDArray[np.int64]  # (N,), ascending
    labels: NDArray[np.int64]  # (N,)
    epochs: NDArray[np.int64]  # (T,), ascending
    seen: NDArray[np.bool_]  # (T, N)
    hits: NDArray[np.bool_]  # (T, N)
    probabilities: NDArray[np.float32]  # (T, N)
    margins: NDArray[np.float32]  # (T, N)
    errors: NDArray[np.float32]  # (T, N)
    taken: Literal["during", "after"]  # as the sample came up, varied, in train mode; or as it is, at the epoch's end
    about: Mapping[str, Any]  # the spec of what was trained, its data included, on whose training split this was

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Make them of rows of `SCHEMA`, in any order: one for each sample and epoch in which it was drawn.

        Raises ValueError where rows are so few that most of what is spread out would be missing.
        """
        told = from_json(table.schema.metadata[b"records"].decode())
        ids, places = np.unique(table["id"].to_numpy(), return_inverse=True)
        epochs, times = np.unique(table["epoch"].to_numpy(), return_inverse=True)
        if len(ids) * len(epochs) > SPREAD * len(table) + ROOM:
            raise ValueError(f"{len(table):,} rows must not tell of {len(ids):,} samples in {len(epochs):,} epochs")
        labels = np.empty(len(ids), np.int64)
        labels[places] = table["label"].to_numpy()

        def spread(name: str, missing: float) -> NDArray[Any]:
            values = table[name].to_numpy()
            whole = np.full((len(epochs), len(ids)), missing, values.dtype)
            whole[times, places] = values
            return whole

        seen = np.zeros((len(epochs), len(ids)), bool)
        seen[times, places] = True
        return cls(
            ids=ids,
            labels=labels,
            epochs=epochs.astype(np.int64),
            seen=seen,
            hits=spread("hit", False),
            probabilities=spread("probability", np.nan),
            margins=spread("margin", np.nan),
            errors=spread("error", np.nan),
            taken=told["taken"],
            about=told["about"],
        )


def read_records(folder: Folder) -> Records:
    """Read what was recorded of a dense network or a trial; ValueError where nothing was."""
    if not folder.has(SAMPLES):
        raise ValueError(
            f"a training must have been recorded to tell of its samples, but {folder.uri} has no {SAMPLES}; "
            "run it with records in a storage that does not have it yet"
        )
    with damage_as_error(f"{SAMPLES} in {folder.uri}"):
        return Records.of(read_columns(folder.read(SAMPLES)))
