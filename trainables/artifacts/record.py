"""The records of the artifacts that trials share."""

from trainables.checkpoints.record import Record
from trainables.data_spec import DataSpec
from trainables.outcome import Cost
from trainables.spec import DenseSpec, GatingSpec, LatencySpec, ProbeSpec, ProfileSpec
from trainables.training.record import TrainingRecord


class CostRecord(Record):
    """The cost of making an artifact."""

    cost: Cost


class DenseRecord(TrainingRecord):
    """A dense network after its last epoch."""

    spec: DenseSpec
    data: DataSpec
    val_accuracy: float
    seconds: float  # of all epochs


class GatingRecord(TrainingRecord):
    """Trained gates, and the weights that were trained with them."""

    spec: GatingSpec
    data: DataSpec
    cost: Cost


class LatencyTableRecord(CostRecord):
    """A latency table."""

    spec: LatencySpec


class ProfileRecord(CostRecord):
    """A profile of a dense network."""

    spec: ProfileSpec


class ProbeRecord(CostRecord):
    """The linear probes of a dense network."""

    spec: ProbeSpec
