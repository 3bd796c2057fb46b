"""What a trial reports to Ray Tune: an epoch, its failure, or the loss of its storage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainables.spec import EpochReport

METRIC = "val_accuracy"  # Tune requires it in every result
KIND, ERROR = "report", "error"


@dataclass(frozen=True)
class TrialFailed:
    """The trial failed by its own fault and ends."""

    error: str


@dataclass(frozen=True)
class TrialLost:
    """The trial lost its storage; it is to be tried again."""

    error: str


TrialReport = EpochReport | TrialFailed | TrialLost
_WITHOUT_EPOCH: Mapping[str, type[TrialFailed | TrialLost]] = {"failed": TrialFailed, "lost": TrialLost}
_KINDS = {EpochReport: "epoch"} | {kind: name for name, kind in _WITHOUT_EPOCH.items()}


def to_tune(report: TrialReport) -> dict[str, Any]:
    """Write a report as the flat dictionary that Tune hands on; one without an epoch has NaN as its accuracy."""
    values = report.model_dump() if isinstance(report, EpochReport) else {METRIC: math.nan, ERROR: report.error}
    return {KIND: _KINDS[type(report)], **values}


def from_tune(result: Mapping[str, Any] | None) -> TrialReport | None:
    """Read the report in a result of Tune, which adds entries of its own; None where a trial has not reported."""
    if not result or KIND not in result:
        return None
    if kind := _WITHOUT_EPOCH.get(result[KIND]):
        return kind(result[ERROR])
    return EpochReport(**{name: result[name] for name in EpochReport.model_fields})
