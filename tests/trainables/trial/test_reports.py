"""The search reads what a trial reports, whatever Tune adds on the way."""

from typing import Any

import pytest

from trainables.spec import EpochReport
from trainables.trial.reports import METRIC, TrialFailed, TrialLost, TrialReport, costs_of, from_tune, to_tune

ADDED: dict[str, Any] = {"trial_id": "a", "done": False, "training_iteration": 3, "time_total_s": 0.1}
REPORTS = [
    EpochReport(epoch=0, val_accuracy=0.5, val_loss=1.0, seconds=2.0),
    EpochReport(epoch=3, val_accuracy=0.5, val_loss=1.0, train_loss=0.5, seconds=2.0, images=7, final=True),
    EpochReport(epoch=1, val_accuracy=0.5, val_loss=1.0, seconds=2.0, other_metrics={"r2": 0.7, "f1": 0.2}),
    TrialFailed("loss must stay finite"),
    TrialLost("storage must work"),
]


@pytest.mark.parametrize("report", REPORTS, ids=str)
def test_a_report_comes_through_tune(report: TrialReport) -> None:
    costs = {"params": 0.5, "latency_ms": 2.0}
    result = to_tune(report, costs)
    assert METRIC in result  # Tune refuses a result without it
    assert not any(isinstance(value, dict | list | tuple) for value in result.values())  # Tune flattens these
    assert from_tune(ADDED | result) == report
    assert costs_of(ADDED | result) == costs
    assert costs_of(to_tune(report)) == {}


@pytest.mark.parametrize("result", [None, {}, ADDED])
def test_a_trial_that_has_not_reported_has_no_report(result: dict[str, Any] | None) -> None:
    assert from_tune(result) is None
