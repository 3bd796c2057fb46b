"""The records of what trials share."""

from trainables.checkpoints.record import Record
from trainables.outcome import Cost
from trainables.spec import DataSpec, DenseSpec, GatingSpec, ProbeSpec, ProfileSpec
from trainables.training.record import TrainingRecord


class CostRecord(Record):
    """What making an artifact cost."""

    cost: Cost


class DenseRecord(TrainingRecord):
    """A dense network after its last epoch."""

    spec: DenseSpec
    data: DataSpec
    val_accuracy: float
    seconds: float


class GatingRecord(TrainingRecord):
    """Trained gates, and the weights trained along with them."""

    spec: GatingSpec
    data: DataSpec
    cost: Cost


class ProfileRecord(CostRecord):
    """A profile."""

    spec: ProfileSpec


class ProbeRecord(CostRecord):
    """Linear probes."""

    spec: ProbeSpec
