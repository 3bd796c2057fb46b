"""What the tracker is told of each trial."""

from typing import Any

from search.results.rows import TrialRow, row_of
from search.tracking.tracker import Finished, Status, Tracker
from trainables.outcome import Outcome
from trainables.spec import EpochReport, TrialSpec

STATUS: dict[str, Status] = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Mlflow:
    """A watcher that tells MLflow."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def say(self, text: str) -> None:
        """News are not tracked."""

    def planned(self, trials: int) -> None:
        """Plans are not tracked."""

    def started(self, spec: TrialSpec) -> None:
        """Open the trial's run."""
        self._tracker.started(spec.key(), spec.model_dump(mode="json"))

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        """Add an epoch's metrics."""
        self._tracker.epoch(spec.key(), report.epoch, _epoch_metrics(report))

    def ended(self, row: TrialRow) -> None:
        """End the trial's run."""
        self._tracker.finished(row.trial, _metrics(row), STATUS[row.status], {"error": row.error} if row.error else {})


def _finished(outcome: Outcome) -> Finished:
    row = row_of(outcome)
    return Finished(
        key=row.trial,
        params=outcome.spec.model_dump(mode="json"),
        epochs={report.epoch: _epoch_metrics(report) for report in outcome.history},
        metrics=_metrics(row),
        status=STATUS[row.status],
        tags={"error": row.error} if row.error else {},
    )


def _epoch_metrics(report: EpochReport) -> dict[str, float]:
    return {name: value for name, value in report.model_dump(exclude={"epoch", "final"}).items() if value is not None}


def _metrics(row: TrialRow) -> dict[str, float]:
    """The numbers of a trial beside its epochs'."""
    told: dict[str, Any] = row.model_dump()
    names = [
        name for name in told if name.endswith(("_kept", "_total")) or name in ("best_epoch", "allocation_seconds")
    ]
    accuracies = {"best_val_accuracy": row.best_val_accuracy} | {
        name: told[name] for name in ("dense_accuracy", "one_shot_accuracy", "recalibrated_accuracy")
    }
    found = {name: told[name] for name in names} | accuracies | {"trial_seconds": row.seconds}
    density = {f"density/{layer}": value for layer, value in row.layers.items()}
    return {name: float(value) for name, value in (found | density).items() if value is not None}
