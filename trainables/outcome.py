"""What a trial leaves behind: what it found, epoch by epoch, and how it ended."""

from collections.abc import Iterable
from typing import Literal

from trainables.frozen import Frozen
from trainables.spec import EpochReport, TrialSpec

Status = Literal["done", "stopped", "failed"]


class Cost(Frozen):
    """What a decision took. None: not counted, by an older version.

    One evaluation is one forward pass of all calibration samples through the network, or through the rest of it from
    the first layer that has changed; a backward pass that follows is part of it.
    """

    seconds: float
    evaluations: int | None = None
    images: int | None = None  # in all evaluations

    @classmethod
    def of_all(cls, costs: Iterable["Cost"]) -> "Cost":
        """Add up what several decisions took."""
        each = list(costs)
        return cls(
            seconds=sum(cost.seconds for cost in each),
            evaluations=total(cost.evaluations for cost in each),
            images=total(cost.images for cost in each),
        )


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
    allocation_evaluations: int | None = None  # this and the next one as in `Cost`
    allocation_images: int | None = None
    profile_seconds: float  # making the profile that the policy needed, by whoever made it; 0 where it needs none
    profile_evaluations: int | None = None
    profile_images: int | None = None
    prune_seconds: float  # from loading the dense network to the report of epoch 0
    hardware: str
    latency_ms: float | None = None  # of one image, median; None where it was not asked for


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

    @property
    def images(self) -> int | None:
        """Images that went through the network in this time: to share the budget, to train, to validate."""
        return total(report.images for report in self.history)


def total(counts: Iterable[int | None]) -> int | None:
    """Add up; None where one of them was not counted."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)
