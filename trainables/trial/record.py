"""The records of a trial: between two pruning steps, and once its network is pruned."""

from trainables.outcome import Cost, Facts
from trainables.spec import DataSpec, TrialSpec
from trainables.training.record import TrainingRecord


class PruningRecord(TrainingRecord):
    """A network between two steps of its schedule, and what is known since the first one."""

    dense_accuracy: float
    params_total: int
    macs_total: int
    parts: dict[str, float]  # part name -> fraction of its units kept in the end
    allocation: Cost
    profile: Cost  # of all that the policy and the criterion look at
    sizes: dict[str, int]  # layer name -> weights of the dense network
    steps: tuple[dict[str, int], ...]  # part name -> units kept after each step
    seconds: float  # of the steps, training between them left out
    images: int | None  # through the network in these seconds


class TrialRecord(TrainingRecord):
    """A pruned network, at any epoch of its recovery."""

    spec: TrialSpec
    data: DataSpec
    facts: Facts
