"""A study in MLflow: a parent run, and a child run for each trial. Tags identify the runs."""

import json
import os
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.tracking.inbox import Events, Finished, Point, Status, UsedData, as_points, flat, now_ms
from trainables.storage.credentials import redacted
from trainables.storage.folder import Folder

EXPERIMENT = "howcompact"
STUDY, TRIAL, WHOLE = (
    "howcompact.study",
    "howcompact.trial",
    "howcompact.whole",
)  # tags; WHOLE holds the final status of a complete run
PARENT, NAME, CONTEXT = "mlflow.parentRunId", "mlflow.runName", "mlflow.data.context"
MOST_TEXT = 6000  # characters of a tag
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the tracker repeats: a POST that urllib3 repeats makes two runs
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass
class Run:
    """A trial's open run in MLflow, with the names and points that it already holds."""

    id: str
    params: set[str] = field(default_factory=set)
    points: set[tuple[str, float, int]] = field(default_factory=set)
    end: Status = "KILLED"  # its final status if it is never complete
    has_data: bool = False  # whether its data set is among its inputs


def tracking_store(tracking: str, storage: Folder) -> tuple[str | None, str | None]:
    """Find MLflow's URI, and the folder of artifacts if the store is our own local one; None if nothing is tracked."""
    if tracking == "off":
        return None, None
    if tracking != "auto":
        return tracking, None
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri, None
    if not storage.is_local:
        return None, None
    os.makedirs(storage.uri, exist_ok=True)
    return f"sqlite:///{storage.uri}/mlflow.db", f"{storage.uri}/mlartifacts"


def client(uri: str, timeout: int = 5) -> Any:
    """MLflow client that logs nothing, never retries and times out after `timeout` seconds (MLflow's default: 120)."""
    for name, value in {**SETTINGS, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout)}.items():
        os.environ.setdefault(name, value)
    # MLflow uses a deprecated loader of SQLAlchemy, and warns about its own type hints when it is imported. Filters are
    # global, so these stay.
    warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
    from mlflow import MlflowClient

    return MlflowClient(uri)


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """Set MLflow's tracking URI of this process for a while: a local model registry looks it up."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow keeps it there, too
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it


class DeletedExperimentError(ValueError):
    """The experiment of all studies is deleted: MLflow keeps its name, and takes no run for it."""


def experiment(client: Any, uri: str, artifacts: str | None) -> str:
    """Find or create the experiment of all studies, and return its id. artifacts: folder for a new local database.

    Raises DeletedExperimentError with the command that restores it.
    """
    found = client.get_experiment_by_name(EXPERIMENT)
    if found and found.lifecycle_stage == "deleted":
        where = f"MLFLOW_TRACKING_URI={shlex.quote(redacted(uri))}"
        raise DeletedExperimentError(
            f"experiment {EXPERIMENT!r} must not be deleted, but is; restore it: {where} mlflow experiments restore "
            f"--experiment-id {found.experiment_id}"
        )
    folder = artifacts if uri.startswith("sqlite:") else None
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT, folder))


def cause_of(error: BaseException) -> str:
    """Describe the innermost cause of an error, such as "connection refused"."""
    while below := error.__cause__ or error.__context__:
        error = below
    return redacted(f"{type(error).__name__}: {error}").splitlines()[0][:200]


class Store:
    """The runs of a study in MLflow. Every call blocks and may raise; open a new store after an error."""

    def __init__(
        self,
        uri: str,
        study: str,
        params: Mapping[str, object],
        artifacts: str | None,
        data: UsedData | None,
        tags: Mapping[str, str],
    ) -> None:
        self._client = client(uri)
        self._experiment = experiment(self._client, uri, artifacts)
        self._open: dict[str, Run] = {}
        self._known: dict[
            str, tuple[str, Status | None]
        ] = {}  # trial -> its run, and its status if the run is complete
        parent = next(self._search(STUDY, study), None)
        if parent is None:
            parent = self._client.create_run(self._experiment, tags={STUDY: study}, run_name=study)
        elif parent.info.status != "RUNNING":
            self._client.update_run(parent.info.run_id, "RUNNING")
        self._parent: str = parent.info.run_id
        self._log(self._parent, {k: v for k, v in flat(params).items() if k not in parent.data.params}, [], tags)
        if data and not _has_data(parent):
            self._log_data(self._parent, data)
        for run in self._search(PARENT, self._parent):
            whole = run.info.status if run.data.tags.get(WHOLE) == run.info.status else None
            self._known[run.data.tags.get(TRIAL, "")] = run.info.run_id, whole

    def knows(self, key: str) -> bool:
        """Tell whether the trial had a run before; it may be incomplete."""
        return key in self._known

    def holds(self, trial: Finished) -> bool:
        """Tell whether the trial's run is complete and has the trial's status."""
        return self.knows(trial.key) and self._known[trial.key][1] == trial.status

    def write(self, key: str, events: Events, *, whole: bool) -> None:
        """Write news of a trial; end its run if the trial has ended. whole: nothing of it is missing."""
        tags, end = events.tags, events.status if whole else None
        if end:
            tags = tags | {WHOLE: end}  # the run is complete once its status is the same
        if key in self._open or self.knows(key):
            run = self._open.get(key) or self._find(self._known[key][0])
        else:
            run, tags = self._create(key, events.since, tags), {}  # tags of a new run cost MLflow nothing
        self._open[key] = run
        run.end = events.status or run.end
        points = events.points
        if end:
            last = max([step for _, _, step in run.points] + [point.step for point in points], default=0)
            points = points + as_points(events.final, last, now_ms())
        points = [point for point in points if point[:3] not in run.points]
        params = {name: value for name, value in events.params.items() if name not in run.params}
        if events.data and not run.has_data:
            self._log_data(run.id, events.data)
            run.has_data = True
        self._log(run.id, params, points, tags)
        run.points.update(point[:3] for point in points)
        run.params.update(params)
        if end:
            self._client.set_terminated(run.id, end)
            self._known[key] = run.id, end
            del self._open[key]

    def summary(self, files: Sequence[Path], points: Sequence[Point]) -> None:
        """Add files and metrics to the study's own run."""
        self._log(self._parent, {}, points, {})
        for file in files:
            self._client.log_artifact(self._parent, str(file))

    def close(self) -> None:
        """End every open run, the study's last; the status of an incomplete run is not FINISHED."""
        for run in self._open.values():
            self._client.set_terminated(run.id, "KILLED" if run.end == "FINISHED" else run.end)
        self._client.set_terminated(self._parent, "FINISHED")

    def _search(self, tag: str, value: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{tag}` = '{value}'", max_results=200, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def _create(self, key: str, since: int, tags: Mapping[str, str]) -> Run:
        tags = {name: str(value)[:MOST_TEXT] for name, value in tags.items()} | {PARENT: self._parent, TRIAL: key}
        name = tags.setdefault(NAME, key)
        return Run(self._client.create_run(self._experiment, since, tags, run_name=name).info.run_id)

    def _find(self, run_id: str) -> Run:
        found = self._client.get_run(run_id)
        if found.info.status != "RUNNING":
            self._client.update_run(run_id, "RUNNING")
        history = [point for name in found.data.metrics for point in self._client.get_metric_history(run_id, name)]
        points = {(point.key, point.value, point.step) for point in history}
        return Run(run_id, set(found.data.params), points, has_data=_has_data(found))

    def _log_data(self, run_id: str, data: UsedData) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kind, source = ("local", {"uri": data.path}) if data.path else ("code", {"tags": {"library": data.name}})
        dataset = Dataset(data.name, data.digest, kind, json.dumps(source))
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag(CONTEXT, "training")])])

    def _log(self, run_id: str, params: Mapping[str, str], points: Sequence[Point], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.name, point.value, point.at, point.step) for point in points]
        run_tags = [RunTag(name, str(value)[:MOST_TEXT]) for name, value in tags.items()]
        self._client.log_batch(run_id, metrics, [Param(*pair) for pair in params.items()], run_tags)


def _has_data(run: Any) -> bool:
    return bool(run.inputs and run.inputs.dataset_inputs)


def refused(error: Exception) -> bool:
    """Tell whether MLflow refuses the content, so that writing it again does not help."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return bool(error.error_code in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE"))
    return isinstance(error, FileNotFoundError)
