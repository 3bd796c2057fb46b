"""The watcher that tracks a running study in MLflow."""

from collections.abc import Sequence
from typing import Any

from search.results.dense_networks import DenseNetwork
from search.results.names import data_name
from search.results.rows import TrialRow, row_of
from search.results.scale import public_name
from search.study.spec import StudySpec
from search.tracking.mlflow_store import NAME
from search.tracking.params import dense_params, trial_params
from search.tracking.tracker import Finished, Status, Tracker, UsedData
from trainables.data_spec import DataSpec
from trainables.outcome import Outcome
from trainables.spec import DenseSpec, EpochReport, TrialSpec

KIND = "howcompact.kind"  # tag of the runs of dense networks
MODEL, DATASET = "howcompact.model", "howcompact.dataset"  # tags
STATUS: dict[str, Status] = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowWatcher:
    """A watcher that passes a study's events on to MLflow."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def say(self, text: str) -> None:
        """Ignore messages."""

    def planned(self, trials: int) -> None:
        """Ignore the number of trials."""

    def dropped(self, trials: int, reason: str) -> None:
        """Ignore trials that will not run."""

    def trained(self, networks: Sequence[DenseNetwork]) -> None:
        """Give each dense network a run of its own."""
        self._tracker.backfill(map(finished_network, networks))

    def started(self, spec: TrialSpec) -> None:
        """Open the trial's run."""
        self._tracker.started(spec.key(), trial_params(spec), _tags(spec), used_data(spec.dense.data))

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        """Add an epoch's metrics."""
        self._tracker.epoch(spec.key(), report.epoch, _epoch_metrics(report, spec.dense))

    def ended(self, row: TrialRow) -> None:
        """End the trial's run."""
        self._tracker.finished(row.trial, _metrics(row), STATUS[row.status], {"error": row.error} if row.error else {})


def finished_network(network: DenseNetwork) -> Finished:
    """Record of a trained dense network, for `Tracker.backfill`: its settings and its curve."""
    return Finished(
        key=network.spec.key(),
        params=dense_params(network.spec),
        epochs={report.epoch: _epoch_metrics(report, network.spec) for report in network.history},
        metrics=(
            {public_name("dense_accuracy", network.spec.data.task.metric.name): network.history[-1].val_accuracy}
            if network.history
            else {}
        ),
        tags={KIND: "dense network", NAME: f"dense network: {network.name}", **_network_tags(network.spec)},
        data=used_data(network.spec.data),
    )


def finished_trial(outcome: Outcome) -> Finished:
    """Record of an ended trial, for `Tracker.backfill`."""
    row = row_of(outcome)
    return Finished(
        key=row.trial,
        params=trial_params(outcome.spec),
        epochs={report.epoch: _epoch_metrics(report, outcome.spec.dense) for report in outcome.history},
        metrics=_metrics(row),
        status=STATUS[row.status],
        tags=_tags(outcome.spec) | ({"error": row.error} if row.error else {}),
        data=used_data(outcome.spec.dense.data),
    )


def used_data(data: DataSpec) -> UsedData:
    """Name a data set for MLflow. Its digest is the checksum of its files; its name where a library checks them."""
    return UsedData(data_name(data), data.content or data.name, data.path)


def study_tags(study: StudySpec) -> dict[str, str]:
    """Tag a study's run by its models and its data set."""
    return {MODEL: ", ".join(study.models), DATASET: data_name(study.data)}


def _tags(spec: TrialSpec) -> dict[str, str]:
    """Name a trial's run by policy, sparsity and seed, and tag it by model and data set."""
    return {NAME: f"{spec.policy} at {spec.sparsity:g}, seed {spec.seed}", **_network_tags(spec.dense)}


def _network_tags(spec: DenseSpec) -> dict[str, str]:
    return {MODEL: spec.model, DATASET: data_name(spec.data)}


def _epoch_metrics(report: EpochReport, dense: DenseSpec) -> dict[str, float]:
    metric, values = dense.data.task.metric.name, report.model_dump(exclude={"epoch", "final", "other_metrics"})
    known = {public_name(name, metric): value for name, value in values.items() if value is not None}
    return known | {public_name("val_accuracy", other): value for other, value in report.other_metrics.items()}


def _metrics(row: TrialRow) -> dict[str, float]:
    """Metrics of a whole trial."""
    columns: dict[str, Any] = row.model_dump()
    ends = ("_kept", "_total", "_accuracy", "_bytes", "_latency_ms")
    names = [name for name in columns if name.endswith(ends) or name in ("best_epoch", "allocation_seconds")]
    metrics = {name: columns[name] for name in names} | {"trial_seconds": row.seconds}
    densities = {f"density/{layer}": value for layer, value in row.layers.items()}
    others = {public_name("best_val_accuracy", other): value for other, value in row.other_metrics.items()}
    known = {public_name(name, row.metric): value for name, value in metrics.items()} | others | densities
    return {name: float(value) for name, value in known.items() if value is not None}
