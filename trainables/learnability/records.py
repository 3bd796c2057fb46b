"""How a network judged each training sample in each epoch: recorded while it trains, stored as Parquet."""

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

SPREAD = 64  # samples x epochs may be this many times the number of rows,
SMALL = 1 << 22  # plus this many
HALF = 0.5  # of its predictions make a sample right (ours)


@dataclass(frozen=True, eq=False)
class Records:
    """The record of T epochs and N samples. Where a sample was not drawn, its entries are False, 0 or NaN.

    Samples without labels have hits alone: the label -1, and NaN.
    """

    ids: NDArray[np.int64]  # (N,), ascending
    labels: NDArray[np.int64]  # (N,)
    epochs: NDArray[np.int64]  # (T,), ascending
    seen: NDArray[np.bool_]  # (T, N)
    hits: NDArray[np.bool_ | np.float32]  # (T, N), of samples with several predictions the share that is right
    probabilities: NDArray[np.float32]  # (T, N)
    margins: NDArray[np.float32]  # (T, N)
    errors: NDArray[np.float32]  # (T, N)
    taken: Literal["during", "after"]  # during: augmented, in train mode; after: unchanged, at the end of the epoch
    about: Mapping[str, Any]  # the spec of the trained network, with its data

    @property
    def labelled(self) -> bool:
        """Whether samples have labels."""
        return bool((self.labels >= 0).all())

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each sample was right (T, N): at least half of its predictions."""
        return np.asarray(self.hits >= HALF)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Make records from rows of `SCHEMA` in any order, one for each sample and epoch in which it was drawn.

        Raises ValueError where most pairs of a sample and an epoch have no row: the arrays would be too large.
        """
        metadata = from_json(table.schema.metadata[b"records"].decode())
        ids, columns = np.unique(table["id"].to_numpy(), return_inverse=True)
        epochs, rows = np.unique(table["epoch"].to_numpy(), return_inverse=True)
        if len(ids) * len(epochs) > SPREAD * len(table) + SMALL:
            raise ValueError(f"{len(table):,} rows are too few for {len(ids):,} samples in {len(epochs):,} epochs")
        labels = np.full(len(ids), -1)
        if "label" in table.column_names:
            labels[columns] = table["label"].to_numpy()

        def spread(name: str, missing: float) -> NDArray[Any]:
            if name not in table.column_names:
                return np.broadcast_to(np.float32(missing), (len(epochs), len(ids)))  # takes no memory
            values = table[name].to_numpy()
            whole = np.full((len(epochs), len(ids)), missing, values.dtype)
            whole[rows, columns] = values
            return whole

        seen = np.zeros((len(epochs), len(ids)), bool)
        seen[rows, columns] = True
        return cls(
            ids=ids,
            labels=labels,
            epochs=epochs.astype(np.int64),
            seen=seen,
            hits=spread("hit", False),
            probabilities=spread("probability", np.nan),
            margins=spread("margin", np.nan),
            errors=spread("error", np.nan),
            taken=metadata["taken"],
            about=metadata["about"],
        )


def read_records(folder: Folder) -> Records:
    """Read the records of a dense network or a trial. Raises ValueError where there are none."""
    if not folder.has(SAMPLES):
        raise ValueError(
            f"a training must be recorded to show how easy its samples are, but {folder.uri} has no {SAMPLES}; "
            "set records.dense or records.finetune and run it in a storage that does not have it yet"
        )
    with damage_as_error(f"{SAMPLES} in {folder.uri}"):
        return Records.of(read_columns(folder.read(SAMPLES)))
