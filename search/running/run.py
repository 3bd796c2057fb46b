"""One run of a study from start to end: trials, tracking, comparison."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from search.comparison.compare import Comparison, compare
from search.results.dense_networks import networks_of, read_networks, warnings_of
from search.results.failures import reasons
from search.results.folder import StudyFolder
from search.results.proposal import best_command
from search.results.rows import TrialRow
from search.results.scale import rank
from search.running.identity import identified, warn_of_changes
from search.running.lease import Lease
from search.running.messages import Verbosity
from search.running.progress import Progress
from search.running.ray_session import refuse_resources
from search.running.tuner import run_trials
from search.running.warm_start import adopt
from search.study.spec import StudySpec
from search.tracking.mlflow_store import tracking_store
from search.tracking.params import study_params
from search.tracking.tracker import Tracker
from search.tracking.watcher import MlflowWatcher, finished_trial, study_tags, used_data
from trainables.catalog import remarks
from trainables.frozen import Frozen
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder


class RunSummary(Frozen):
    """What a run did, and where its results are."""

    study: str
    folder: str
    trials: dict[str, int]  # total, done, new, failed (with those that could not start), stopped
    failures: dict[str, int]  # error -> number of failed trials
    best: TrialRow | None  # by the validation metric
    best_command: str | None  # that takes the best network, for a shell
    comparison: Comparison | None
    tracking: str | None  # where MLflow is
    wall_seconds: float  # from the start of the run to this summary
    trial_seconds: float  # of the trials that this run added


Show = Callable[[RunSummary], None]


def run(
    study: StudySpec,
    storage: Folder,
    address: str | None,
    warn: Callable[[str], None],
    verbosity: Verbosity = "normal",
    show: Show | None = None,
) -> RunSummary:
    """Start, continue or extend a study: run the trials that its folder lacks, track them in MLflow, compare.

    address: as for `run_trials`. verbosity: how much of the progress is shown on stderr. warn: gets a message of each
    problem that does not stop the study. show: gets the summary before MLflow gets the page and the end of the run,
    which takes seconds. Raises ValueError if another run of the study is active.
    """
    refuse_resources(study.resources, address)
    with Lease(storage / study.name, warn) as lease:
        return _run(study, storage, address, warn, lease.check, verbosity, show)


def _run(
    study: StudySpec,
    storage: Folder,
    address: str | None,
    warn: Callable[[str], None],
    check: Callable[[], None],
    verbosity: Verbosity,
    show: Show | None,
) -> RunSummary:
    started = time.perf_counter()
    folder = StudyFolder(storage / study.name)
    with Progress(verbosity) as progress:
        study = identified(study, storage, progress.say)
        cells = study.cells()
        for line in (
            *remarks.remarks(cell.dense for cell in cells),
            *remarks.whole_layers(cells),
            *remarks.ruled(cells),
            *remarks.bent(study.trials()),
        ):
            progress.say(line)
    warn_of_changes(study, folder, warn)
    adopted = adopt(study, storage)
    before = {row.trial for row in folder.rows() if row.status != "failed"}
    uri, artifacts = tracking_store(study.tracking, storage)
    if uri is None and study.tracking == "auto":
        warn(f"tracking is off: set MLFLOW_TRACKING_URI, as {storage.uri} cannot hold MLflow's own store")
    tracker = Tracker(
        uri,
        study.name,
        study_params(study),
        warn=warn,
        artifacts=artifacts,
        data=used_data(study.data),
        tags=study_tags(study),
    )
    comparison = None
    try:
        with Progress(verbosity) as progress:
            for name, trials in adopted.items():
                progress.say(f"starting points taken over from study {name}: {trials}")
            rows, left_out = run_trials(study, storage, address, progress, (progress, MlflowWatcher(tracker)), check)
        for message in warnings_of(read_networks(networks_of(study), storage)):
            warn(message)
        tracker.backfill(finished_trial(outcome) for outcome in folder.read_outcomes(row.trial for row in rows))
        if any(row.best_val_accuracy is not None and row.status != "failed" for row in rows):
            comparison = compare([folder])
        summary = RunSummary(
            **_counts(rows, before, left_out),
            study=study.name,
            folder=folder.folder.uri,
            best_command=best_command(folder.folder.uri, rows),
            comparison=comparison,
            tracking=redacted(uri) if uri else None,
            wall_seconds=time.perf_counter() - started,
        )
        if show is not None:
            show(summary)
        with tempfile.TemporaryDirectory() if uri and comparison else nullcontext() as scratch:
            if scratch is not None and comparison is not None:
                from search.report.write import write_report  # a second of imports that an untracked run does not pay

                tracker.summary(write_report(comparison, Path(scratch), [folder]), _headline_metrics(comparison))
            tracker.close()
    except BaseException:
        tracker.close(timeout=5.0)
        raise
    return summary


def _counts(rows: list[TrialRow], before: set[str], left_out: Counter[str]) -> dict[str, Any]:
    """Return the fields of a summary that count trials. before: trials that had ended before this run."""
    new = [row for row in rows if row.trial not in before]
    states = {state: sum(row.status == state for row in rows) for state in ("done", "failed", "stopped")}
    states["failed"] += left_out.total()
    return {
        "trials": {"total": len(rows) + left_out.total(), "new": len(new), **states},
        "failures": dict((left_out + Counter(reasons(rows))).most_common()),
        "best": max((row for row in rows if row.status == "done"), key=rank, default=None),
        "trial_seconds": sum(row.seconds for row in new),
    }


def _headline_metrics(comparison: Comparison) -> dict[str, float]:
    # MLflow takes no commas
    return {f"{name.replace(',', '')}/mean_gap_to_uniform": gap.mean_gap for name, gap in comparison.headline.items()}
