"""What a trial reports to Ray Tune: an epoch, its failure, or that it lost its storage."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from trainables.spec import EpochReport

METRIC = "val_accuracy"  # Tune requires it in every result
KIND, ERROR = "report", "error"
OTHER = "other_metrics:"  # and the name of one; Tune hands on no dictionary in a result
COST = "cost:"  # and the name of a cost of the pruned network


@dataclass(frozen=True)
class TrialFailed:
    """The trial failed by an error of its own. It is not repeated."""

    error: str


@dataclass(frozen=True)
class TrialLost:
    """The trial lost its storage. It is repeated."""

    error: str


TrialReport = EpochReport | TrialFailed | TrialLost
_WITHOUT_EPOCH: Mapping[str, type[TrialFailed | TrialLost]] = {"failed": TrialFailed, "lost": TrialLost}
_KINDS = {EpochReport: "epoch"} | {kind: name for name, kind in _WITHOUT_EPOCH.items()}


def to_tune(report: TrialReport, costs: Mapping[str, float] = MappingProxyType({})) -> dict[str, Any]:
    """Write a report as the flat dictionary that Tune passes on. A report without an epoch has accuracy NaN.

    costs: of the pruned network, which schedulers read.
    """
    if isinstance(report, EpochReport):
        values = report.model_dump(exclude={"other_metrics"})
        values |= {f"{OTHER}{name}": value for name, value in report.other_metrics.items()}
    else:
        values = {METRIC: math.nan, ERROR: report.error}
    return {KIND: _KINDS[type(report)], **values, **{f"{COST}{name}": cost for name, cost in costs.items()}}


def from_tune(result: Mapping[str, Any] | None) -> TrialReport | None:
    """Read the report in a result of Tune, which adds its own entries. None where the trial has not reported yet."""
    if not result or KIND not in result:
        return None
    if kind := _WITHOUT_EPOCH.get(result[KIND]):
        return kind(result[ERROR])
    others = {name.removeprefix(OTHER): value for name, value in result.items() if name.startswith(OTHER)}
    known = {name: result[name] for name in EpochReport.model_fields if name != "other_metrics"}
    return EpochReport(**known, other_metrics=others)


def costs_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Read the costs of the pruned network in a result of Tune; empty where the trial does not know them."""
    return {name.removeprefix(COST): cost for name, cost in result.items() if name.startswith(COST)}
