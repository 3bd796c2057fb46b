"""The measures of each training sample in each epoch, recorded while a network trains."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.arguments import outputs_of
from trainables.data.batches import Batch, Resident, eval_batches
from trainables.data.splits import AnySplits
from trainables.frozen import Frozen
from trainables.spec import Taken
from trainables.storage.columns import read_columns
from trainables.storage.folder import Folder
from trainables.task.objective import Objective
from trainables.training.team import Team
from trainables.training.train import EVAL_BATCH, autocast

SAMPLES = "samples.parquet"

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]
Column = tuple[str, pa.DataType, str]
SHARED: tuple[Column, ...] = (
    ("epoch", pa.int32(), "of this training, from 1 on; 0: before the first epoch of recovery"),
    ("id", pa.int64(), "of the sample; the same under every spec of its data set"),
)


def _schema(*columns: Column) -> pa.Schema:
    return pa.schema(
        pa.field(name, kind, metadata={"description": description}) for name, kind, description in (*SHARED, *columns)
    )


SCHEMA = _schema(  # of samples with labels
    ("label", pa.int64(), "label that the network was trained on"),
    ("hit", pa.bool_(), "whether the label had the largest logit"),
    ("probability", pa.float32(), "softmax of the label"),
    ("margin", pa.float32(), "logit of the label minus the largest other logit"),
    ("error", pa.float32(), "Euclidean norm of softmax minus one-hot label"),
)
HITS = _schema(("hit", pa.float32(), "which share of its predictions was right; 1 or 0 where it has one"))


def schema_of(objective: Objective) -> pa.Schema:
    """Return the columns of a record: all measures need labels, and only the hits do without."""
    return HITS if objective.labels is None else SCHEMA


def _measured(objective: Objective, outputs: Tensor, content: Any) -> Tensor:
    """Measure the samples of a batch: (B, columns), those of the schema behind `SHARED`."""
    assert objective.hits is not None
    hit = objective.hits(outputs, content).float()[:, None]
    if objective.labels is None:
        return hit
    labels = objective.labels(content)[:, None]
    probabilities = outputs.softmax(1)
    probability = probabilities.gather(1, labels)
    margin = outputs.gather(1, labels) - outputs.scatter(1, labels, -torch.inf).amax(1, keepdim=True)
    error = (probabilities.square().sum(1, keepdim=True) - 2 * probability + 1).clamp(min=0).sqrt()
    return torch.cat((labels.float(), hit, probability, margin, error), dim=1)


class EpochRecord:
    """The measures of N training samples in one epoch.

    values: (N, columns), as `_measured` has them; NaN for samples that no batch has had yet.
    """

    def __init__(self, samples: int, columns: int) -> None:
        self.values = torch.full((samples, columns), torch.nan)
        self._steps = torch.full((samples, 1), -1.0)  # the last step in which each sample came up; -1: none
        self._step = 0

    @torch.no_grad()
    def add(self, batch: Batch, outputs: Tensor, objective: Objective) -> None:
        """Measure the samples of a batch; a sample that comes up again replaces its earlier values.

        outputs: (B, ...).
        """
        values = _measured(objective, outputs.float(), batch.content)
        self.values, self._steps = self.values.to(values.device), self._steps.to(values.device)
        self.values[batch.index] = values
        self._steps[batch.index] = self._step
        self._step += 1

    def merge(self, team: Team) -> None:
        """Give the leader the samples of its followers, and clear theirs; all workers call this after the same step."""
        if team.size > 1:
            steps = team.gather(self._steps)
            last = steps.argmax(0, keepdim=True)
            self.values = team.gather(self.values).gather(0, last.expand(1, *self.values.shape))[0]
            self._steps = steps.amax(0)
            if team.rank > 0:
                self.clear()

    def drawn(self) -> tuple[Integers, Floats]:
        """Return the positions (n,) of the samples that came up in this epoch, and their values (n, columns)."""
        positions = np.flatnonzero(self._steps[:, 0].cpu().numpy() >= 0)
        return positions, self.values.cpu().numpy()[positions]

    def clear(self) -> None:
        """Forget all samples: the next epoch begins."""
        self.values.fill_(torch.nan)
        self._steps.fill_(-1.0)


class Recorder:
    """Saves the measures of each epoch in its own file, so that a resumed training has the earlier ones."""

    def __init__(
        self,
        splits: AnySplits,
        taken: Literal["during", "after"],
        folder: Folder,
        about: Mapping[str, Any],
        first: int = 1,
    ) -> None:
        """Record the training samples.

        taken: "during" the training steps of an epoch, or "after" the epoch. folder: of the epochs so far. about: what
        is trained, as JSON. first: the first epoch that is recorded.
        """
        self._ids, self._folder, self.taken, self.first = splits.train.ids, folder, taken, first
        origin = {"taken": taken, "split": "train", "about": about}
        self._schema = schema_of(splits.objective).with_metadata({"records": json.dumps(origin)})
        self.epoch_record = EpochRecord(len(splits.train), len(self._schema) - len(SHARED))

    @classmethod
    def of(cls, taken: Taken, splits: AnySplits, folder: Folder, about: Frozen, first: int = 1) -> Self | None:
        """Build the recorder that a setting asks for; None for "off", and for a task that has no hits.

        about: the spec of what is trained.
        """
        if taken == "off" or splits.objective.hits is None:
            return None
        return cls(splits, taken, folder, about.model_dump(mode="json"), first)

    def end(self, epoch: int, model: nn.Module, data: Resident) -> None:
        """Save the measures of an epoch that has ended.

        data: the recorded split on the device. With `taken` "after", the network is evaluated on it now. Raises
        ValueError for hits of a task that are out of range.
        """
        if self.taken == "after":
            self._measure(model, data)
        drawn, values = self.epoch_record.drawn()
        ids = self._ids[drawn]
        columns = dict(zip(self._schema.names, (np.full(len(ids), epoch), ids, *values.T), strict=True))
        if (wrong := ~((columns["hit"] >= 0) & (columns["hit"] <= 1))).any():
            sample, hit = ids[wrong][0], columns["hit"][wrong][0]
            raise ValueError(
                f"hits of a Task must be shares from 0 to 1, but sample {sample} has {hit} in epoch {epoch}; correct it"
            )
        order = np.argsort(ids)
        arrays = [columns[field.name][order].astype(field.type.to_pandas_dtype()) for field in self._schema]
        table = pa.table(arrays, schema=self._schema)
        self._folder.write(_file_of(epoch), _to_bytes([table]))
        self.epoch_record.clear()

    def last_whole(self) -> int:
        """Return the last epoch from which training may resume: all epochs from `first` to this one are recorded.

        It is `first` - 1 where none is recorded. A file that is lost or damaged counts as never written.
        """
        epoch = self.first
        with suppress(FileNotFoundError, ValueError):
            while True:
                self._read(epoch)
                epoch += 1
        return epoch - 1

    def finish(self, folder: Folder, last: int) -> None:
        """Write the epochs from `first` to `last` to one file in `folder`. The caller deletes the files of the epochs.

        Raises FileNotFoundError or ValueError where the file of an epoch is lost or damaged.
        """
        parts = [self._read(epoch) for epoch in range(self.first, last + 1)]
        if parts:
            folder.write(SAMPLES, _to_bytes(parts))

    def _read(self, epoch: int) -> pa.Table:
        """Read an epoch's file. Its schema has no checksum, so the columns get our own schema."""
        return read_columns(self._folder.read(_file_of(epoch))).cast(self._schema)

    @torch.no_grad()
    def _measure(self, model: nn.Module, data: Resident) -> None:
        training = model.training
        model.eval()
        for batch in eval_batches(data, EVAL_BATCH):
            with autocast(data.device):
                outputs = outputs_of(model, batch.inputs)
            self.epoch_record.add(batch, outputs, data.objective)
        model.train(training)


def _file_of(epoch: int) -> str:
    return f"{epoch:05d}.parquet"


def _to_bytes(tables: list[pa.Table]) -> bytes:
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "use_dictionary": ["epoch", "label"], "write_page_checksum": True}
    with pq.ParquetWriter(sink, tables[0].schema, **options) as writer:
        for table in tables:
            writer.write_table(table)
    return bytes(sink.getvalue())
