"""The record of a checkpoint: JSON beside its tensors. Each reader validates it by a model. Needs no torch."""

from collections.abc import Collection

from pydantic import ConfigDict

from trainables.data_spec import DataSpec
from trainables.frozen import Frozen
from trainables.outcome import Facts
from trainables.spec import EpochReport


class Record(Frozen):
    """The fields of a record that one kind of reader needs; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")


class TrainedRecord(Record):
    """The record of a trained network."""

    data: DataSpec  # on which it was trained


class ProgressRecord(Record):
    """The record of an epoch: the progress of its training."""

    history: tuple[EpochReport, ...] = ()
    facts: Facts | None = None  # of a trial whose network is pruned
    needed_to_go_on: tuple[str, ...] = ()  # groups of tensors to resume from; a finished trial deletes some of them

    def can_resume(self, groups: Collection[str]) -> bool:
        """Whether a checkpoint with these groups of tensors still has all that its training needs to go on."""
        return {*self.needed_to_go_on} <= {*groups}
