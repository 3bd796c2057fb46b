"""The records of a trial: between two pruning steps, and after its network is pruned."""

from trainables.data_spec import DataSpec
from trainables.outcome import Cost, Facts
from trainables.spec import TrialSpec
from trainables.training.record import TrainingRecord


class PruningRecord(TrainingRecord):
    """A network between two steps of its pruning schedule, and what the first step has decided and measured."""

    dense_accuracy: float  # on the validation split
    params_total: int
    macs_total: int
    parts: dict[str, float]  # part name -> fraction of its units kept after the last step
    allocation: Cost
    profile: Cost  # of the shared artifacts that the policy and the criterion read
    sizes: dict[str, int]  # layer name -> weights of the dense network
    steps: tuple[dict[str, int], ...]  # part name -> units kept after each step
    seconds: float  # of the pruning steps, without the training between them
    images: int | None  # that the network processed in these seconds; None: not known
    predicted_latency_ms: float | None = None  # after the last step, by the table that a budget of latency reads


class TrialRecord(TrainingRecord):
    """A pruned network, at any epoch of its recovery."""

    spec: TrialSpec
    data: DataSpec
    facts: Facts
