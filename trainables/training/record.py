"""The record that each epoch of a training saves."""

from trainables.checkpoints.checkpoint import Architecture
from trainables.checkpoints.record import Record
from trainables.pruning.gates import GatesReport
from trainables.spec import EpochReport


class TrainingRecord(Record):
    """How the network is built, and the report of each epoch."""

    architecture: Architecture
    history: tuple[EpochReport, ...] = ()
    gates: tuple[GatesReport, ...] = ()  # one for each epoch if gates are trained, otherwise empty
    needed_to_go_on: tuple[str, ...] = ()  # groups of tensors that resuming needs
