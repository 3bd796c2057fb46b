"""The record of each training sample, taken epoch by epoch while a network trains."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from trainables.data.batches import Batch, Resident, eval_batches
from trainables.data.splits import Split
from trainables.frozen import Frozen
from trainables.spec import Taken
from trainables.storage.columns import read_columns
from trainables.storage.folder import Folder
from trainables.training.team import Team
from trainables.training.train import EVAL_BATCH, autocast

SAMPLES = "samples.parquet"


SCHEMA = pa.schema(
    pa.field(name, kind, metadata={"description": told})
    for name, kind, told in (
        ("epoch", pa.int32(), "of this training, from 1 on; 0: what recovery starts from"),
        ("id", pa.int64(), "of the sample, the same under every spec of its data set"),
        ("label", pa.int64(), "that the network was trained on"),
        ("hit", pa.bool_(), "whether the label had the largest logit"),
        ("probability", pa.float32(), "softmax of the label"),
        ("margin", pa.float32(), "logit of the label less the largest other one"),
        ("error", pa.float32(), "Euclidean norm of softmax less one-hot label"),
    )
)


MEASURED = ("hit", "probability", "margin", "error")


class EpochRecord:
    """What a network makes of each of N training samples in one epoch, as far as it has come."""

    def __init__(self, samples: int) -> None:
        self.values = torch.full((samples, len(MEASURED)), torch.nan)
        self._steps = torch.full((samples, 1), -1.0)  # in which they came up last
        self._step = 0

    @torch.no_grad()
    def see(self, batch: Batch, logits: Tensor) -> None:
        """Take down what the network makes of a batch; of a sample that comes up again the last time counts.

        logits: (B, classes).
        """
        logits, own = logits.float(), batch.labels[:, None]
        chances = logits.softmax(1)
        probability, top = chances.gather(1, own), logits.argmax(1, keepdim=True)
        margin = logits.gather(1, own) - logits.scatter(1, own, -torch.inf).amax(1, keepdim=True)
        error = (chances.square().sum(1, keepdim=True) - 2 * probability + 1).clamp(min=0).sqrt()
        self.values, self._steps = self.values.to(logits.device), self._steps.to(logits.device)
        self.values[batch.index] = torch.cat(((top == own).float(), probability, margin, error), dim=1)
        self._steps[batch.index] = self._step
        self._step += 1

    def put_together(self, team: Team) -> None:
        """Let the leader of a team take over what the others saw, who went through the same steps and begin anew."""
        if team.size > 1:
            last = team.gather(self._steps).argmax(0, keepdim=True)
            self.values = team.gather(self.values).gather(0, last.expand(1, *self.values.shape))[0]
            if team.rank > 0:
                self.clear()

    def clear(self) -> None:
        """Begin the next epoch."""
        self.values.fill_(torch.nan)
        self._steps.fill_(-1.0)


class Recorder:
    """Records an epoch after the other, each in a file of its own, so that a training that goes on has them all."""

    def __init__(
        self,
        split: Split,
        taken: Literal["during", "after"],
        folder: Folder,
        about: Mapping[str, Any],
        first: int = 1,
    ) -> None:
        """Record the samples of a training split; folder: for the epochs so far, of which `first` is the first one."""
        self._split, self._folder, self.taken, self.first = split, folder, taken, first
        told = {"taken": taken, "split": "train", "about": about}
        self._schema = SCHEMA.with_metadata({"records": json.dumps(told)})
        self.epoch_record = EpochRecord(len(split))

    @classmethod
    def of(cls, taken: Taken, split: Split, folder: Folder, about: Frozen, first: int = 1) -> Self | None:
        """Record as settings ask for, if they do; about: what is trained."""
        return None if taken == "off" else cls(split, taken, folder, about.model_dump(mode="json"), first)

    def end(self, epoch: int, model: nn.Module, data: Resident) -> None:
        """Save an epoch that has ended; data: the split, which the network is asked about now if it was not before."""
        if self.taken == "after":
            self._ask(model, data)
        values = self.epoch_record.values.cpu().numpy()
        drawn = np.flatnonzero(~np.isnan(values[:, 0]))
        drawn = drawn[np.argsort(self._split.ids[drawn])]
        hit, *others = values[drawn].T
        columns = (np.full(len(drawn), epoch, np.int32), self._split.ids[drawn], self._split.labels[drawn], hit > 0)
        table = pa.table([pa.array(column) for column in (*columns, *others)], schema=self._schema)
        self._folder.write(_file_of(epoch), _to_bytes([table]))
        self.epoch_record.clear()

    def last_whole(self) -> int:
        """Find the epoch that a training may go on from: all from the first one to that one have been recorded.

        It is the one before the first where none has. A file that is lost or damaged counts as never written.
        """
        epoch = self.first
        with suppress(FileNotFoundError, ValueError):
            while True:
                self._read(epoch)
                epoch += 1
        return epoch - 1

    def finish(self, folder: Folder, last: int) -> None:
        """Put all epochs together in a folder; they are left to be deleted once all else is kept, too."""
        parts = [self._read(epoch) for epoch in range(self.first, last + 1)]
        if parts:
            folder.write(SAMPLES, _to_bytes(parts))

    def _read(self, epoch: int) -> pa.Table:
        """Read an epoch's file; what it says of its columns no checksum covers, so that is taken from here."""
        return read_columns(self._folder.read(_file_of(epoch))).cast(self._schema)

    @torch.no_grad()
    def _ask(self, model: nn.Module, data: Resident) -> None:
        training = model.training
        model.eval()
        for batch in eval_batches(data, EVAL_BATCH):
            with autocast(data.device):
                logits = model(batch.images)
            self.epoch_record.see(batch, logits)
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
