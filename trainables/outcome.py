"""What a trial leaves behind: what it found, epoch by epoch, and how it ended."""

from typing import Literal

from trainables.spec import EpochReport, Frozen, TrialSpec

Status = Literal["done", "stopped", "failed"]


class Facts(Frozen):
    """What is known once the network is pruned, counted on the pruned network itself."""

    dense_accuracy: float
    one_shot_accuracy: float  # of the network as it was pruned last
    recalibrated_accuracy: float
    params_total: int
    params_kept: int
    macs_total: int
    macs_kept: int
    layers: dict[str, float]  # layer name -> density of its weights
    parts: dict[str, float]  # part name -> fraction of its units kept
    allocation_seconds: float  # scoring and sharing the budget
    profile_seconds: float  # making the profile that the policy needed, by whoever made it; 0 where it needs none
    prune_seconds: float  # from loading the dense network to the report of epoch 0
    hardware: str


class Outcome(Frozen):
    """A trial that will not go on."""

    spec: TrialSpec
    status: Status
    facts: Facts | None = None
    history: tuple[EpochReport, ...] = ()
    error: str = ""
    ended: str = ""  # when this was written: UTC, ISO 8601

    @property
    def best(self) -> EpochReport | None:
        """The first epoch of highest validation accuracy."""
        return max(self.history, key=lambda report: report.val_accuracy, default=None)

    @property
    def seconds(self) -> float:
        """Time spent in the trial, its repeats after a crash left out."""
        return (self.facts.prune_seconds if self.facts else 0.0) + sum(report.seconds for report in self.history[1:])
