"""The outcome of a trial: its measurements, each epoch, and how it ended."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

from pydantic import model_validator

from trainables.frozen import Frozen
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.sealed_json import sealed, unsealed
from trainables.task_spec import MetricSpec

Status = Literal["done", "stopped", "failed"]


class Cost(Frozen):
    """The cost of a decision. None: an older version did not count it.

    An evaluation is a forward pass of all calibration samples through the network, or through the part of it that
    begins at the first changed layer. A backward pass belongs to the evaluation before it.
    """

    seconds: float
    evaluations: int | None = None
    images: int | None = None  # in all evaluations

    @classmethod
    def of_all(cls, costs: Iterable["Cost"]) -> "Cost":
        """Add up the costs of several decisions."""
        each = list(costs)
        return cls(
            seconds=sum(cost.seconds for cost in each),
            evaluations=total(cost.evaluations for cost in each),
            images=total(cost.images for cost in each),
        )


class Facts(Frozen):
    """What is known after pruning; sizes are counted on the pruned network.

    Accuracies are the metric of the task where it is another one.
    """

    dense_accuracy: float
    one_shot_accuracy: float  # right after the last pruning
    recalibrated_accuracy: float
    compensated_accuracy: float | None = None  # compensated, then recalibrated; None: not compensated
    compensation_seconds: float | None = None  # of this, without its evaluation; a part of prune_seconds
    params_total: int
    params_kept: int
    macs_total: int
    macs_kept: int
    params_fixed: int | None = None  # parameters that are never pruned; None: an older version
    layers: dict[str, float]  # layer name -> density of its weights
    parts: dict[str, float]  # part name -> fraction of its units kept
    allocation_seconds: float  # to score units and share the budget
    allocation_evaluations: int | None = None  # this and the next field as in `Cost`
    allocation_images: int | None = None
    profile_seconds: float  # to make the profile that the policy needs, in any trial; 0 if it needs none
    profile_evaluations: int | None = None
    profile_images: int | None = None
    prune_seconds: float  # from loading the dense network to the report of epoch 0
    hardware: str
    predicted_latency_ms: float | None = None  # by the table of a budget of latency; None without one
    latency_ms: float | None = None  # of one batch, median; None if it was not measured
    dense_latency_ms: float | None = None  # of the dense network, in turns with it
    latency_spread: float | None = None  # interquartile range of the runs over their median
    device: str = ""  # on which it was timed; empty: an older version, or not timed

    @model_validator(mode="before")
    @classmethod
    def _without_former_fields(cls, values: Any) -> Any:
        """Ignore `uncounted`, by which an older version counted some of the fixed parameters."""
        return {n: v for n, v in values.items() if n != "uncounted"} if isinstance(values, dict) else values

    @property
    def costs(self) -> dict[str, float]:
        """The costs that a search may have as goals: fractions of the dense network's, and the latency if measured."""
        fractions = {"params": self.params_kept / self.params_total, "macs": self.macs_kept / self.macs_total}
        return fractions | ({} if self.latency_ms is None else {"latency_ms": self.latency_ms})


class Quantised(Frozen):
    """What is known of the int8 ONNX file of the best epoch's network, and of the float32 ONNX file beside it."""

    quantised_accuracy: float  # of the int8 file on validation samples, or the metric of the task
    quantised_bytes: int
    exported_bytes: int  # of the float32 file
    quantised_seconds: float  # to export, quantise and evaluate
    quantised_images: int  # that passed through either file in this time, without the runs that measure latency
    quantised_latency_ms: float | None = None  # of one batch in onnxruntime on the CPU, median; None: not measured
    exported_latency_ms: float | None = None  # the same of the float32 file, measured in turns


class Outcome(Frozen):
    """A trial that has ended."""

    spec: TrialSpec
    status: Status
    facts: Facts | None = None
    history: tuple[EpochReport, ...] = ()
    quantised: Quantised | None = None  # None: the trial does not quantise, or did not reach its end
    error: str = ""
    ended: str = ""  # time of writing: UTC, ISO 8601

    def to_file(self) -> bytes:
        """Return the content of its file: JSON with a checksum."""
        return sealed(self.model_dump_json().encode())

    @classmethod
    def from_file(cls, content: bytes) -> Self:
        """Read the content of a file. Raises ValueError for content that differs from its checksum."""
        return cls.model_validate_json(unsealed(content))

    @property
    def best(self) -> EpochReport | None:
        """The first epoch with the best validation metric."""
        return best_of(self.history, self.spec.dense.data.task.metric)

    @property
    def seconds(self) -> float:
        """Time spent in the trial, without what a crash made it repeat."""
        before = self.facts.prune_seconds if self.facts else 0.0
        after = self.quantised.quantised_seconds if self.quantised else 0.0
        return before + sum(report.seconds for report in self.history[1:]) + after

    @property
    def images(self) -> int | None:
        """Images that passed through the network in these seconds: to share the budget, train, validate, quantise."""
        after = [self.quantised.quantised_images] if self.quantised else []
        return total([*(report.images for report in self.history), *after])


def best_of(history: Sequence[EpochReport], metric: MetricSpec) -> EpochReport | None:
    """Find the first epoch with the best validation metric; None where there is no epoch."""
    return max(history, key=lambda report: metric.sign * report.val_accuracy, default=None)


def total(counts: Iterable[int | None]) -> int | None:
    """Add up counts; None if one of them is unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)
