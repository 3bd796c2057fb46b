"""What `best` adds to the record of a network that it has copied and verified."""

from search.results.rows import TrialRow
from trainables.checkpoints.record import Record
from trainables.evaluate import NetworkInput


class VerifiedRecord(Record):
    """The record of a network that `best` has verified in a clean process."""

    verified_accuracy: float  # on the validation split
    verified_on: str  # hardware
    input: NetworkInput


class BestRecord(VerifiedRecord):
    """All fields that `best` adds."""

    study: str
    trial: str
    epoch: int  # the trial's best epoch
    result: TrialRow
    reported_accuracy: float  # on the validation split
    params_fixed: int  # parameters of the network that are never pruned, beside the weights kept
    versions: dict[str, str]  # library -> version, when the network was verified
