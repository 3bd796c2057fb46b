"""One run of a study from start to end: trials, tracking, comparison."""

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from search.adoption import adopt
from search.comparison import Comparison, compare
from search.lease import Lease
from search.mlflow_store import tracking_store
from search.progress import Progress
from search.results import StudyFolder
from search.rows import TrialRow, row_of
from search.study import StudySpec
from search.tracking import Finished, Status, Tracker
from search.tune import run_trials
from trainables.credentials import redacted
from trainables.outcome import Outcome
from trainables.spec import EpochReport, Frozen, TrialSpec
from trainables.storage import Folder

STATUS: dict[str, Status] = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class RunSummary(Frozen):
    """What a run did and where it left it."""

    study: str
    folder: str
    trials: dict[str, int]  # total, done, new, failed, stopped
    best: TrialRow | None  # of highest validation accuracy
    comparison: Comparison | None
    tracking: str | None  # where MLflow is
    wall_seconds: float
    trial_seconds: float  # of the trials that this run added


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


def run(study: StudySpec, storage: Folder, address: str | None, warn: Callable[[str], None]) -> RunSummary:
    """Start, continue or extend a study: run what its folder lacks, tell MLflow, compare.

    address: as for `run_trials`. warn: told what went wrong without stopping the study. ValueError where the study is
    being run already.
    """
    with Lease(storage / study.name, warn) as lease:
        return _run(study, storage, address, warn, lease.check)


def _run(
    study: StudySpec, storage: Folder, address: str | None, warn: Callable[[str], None], check: Callable[[], None]
) -> RunSummary:
    started = time.perf_counter()
    folder = StudyFolder(storage / study.name)
    adopted = adopt(study, storage)
    before = {row.trial for row in folder.rows() if row.status != "failed"}
    uri, artifacts = tracking_store(study.tracking, storage)
    if uri is None and study.tracking == "auto":
        warn(f"tracking is off: set MLFLOW_TRACKING_URI, as {storage.uri} cannot hold MLflow's own store")
    tracker = Tracker(uri, study.name, study.model_dump(mode="json"), warn=warn, artifacts=artifacts)
    comparison = None
    try:
        with Progress() as progress:
            for name, trials in adopted.items():
                progress.say(f"starting points taken over from study {name}: {trials}")
            rows = run_trials(study, storage, address, (progress, Mlflow(tracker)), check)
        tracker.backfill(_finished(outcome) for outcome in folder.read_outcomes(row.trial for row in rows))
        if any(row.val_accuracy is not None and row.status != "failed" for row in rows):
            comparison = compare([folder])
        with tempfile.TemporaryDirectory() if uri and comparison else nullcontext() as scratch:
            if scratch is not None and comparison is not None:
                from search.report import write_report  # a second of imports that an untracked run does not pay

                tracker.summary(write_report(comparison, Path(scratch), [folder]), _headline_metrics(comparison))
            tracker.close()
    except BaseException:
        tracker.close(timeout=5.0)
        raise
    new = [row for row in rows if row.trial not in before]
    states = {state: sum(row.status == state for row in rows) for state in ("done", "failed", "stopped")}
    reached = [row for row in rows if row.status == "done"]
    return RunSummary(
        study=study.name,
        folder=folder.folder.uri,
        trials={"total": len(rows), "new": len(new), **states},
        best=max(reached, key=lambda row: row.val_accuracy or 0.0, default=None),
        comparison=comparison,
        tracking=redacted(uri) if uri else None,
        wall_seconds=time.perf_counter() - started,
        trial_seconds=sum(row.seconds for row in new),
    )


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
    accuracies = {"best_val_accuracy": row.val_accuracy} | {
        name: told[name] for name in ("dense_accuracy", "one_shot_accuracy", "recalibrated_accuracy")
    }
    found = {name: told[name] for name in names} | accuracies | {"trial_seconds": row.seconds}
    density = {f"density/{layer}": value for layer, value in row.layers.items()}
    return {name: float(value) for name, value in (found | density).items() if value is not None}


def _headline_metrics(comparison: Comparison) -> dict[str, float]:
    # MLflow takes no commas
    return {f"{name.replace(',', '')}/mean_gap_to_uniform": told.mean_gap for name, told in comparison.headline.items()}
