"""Running a study: the one place where a Tuner is built. The same call starts, continues and extends."""

import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.execution import class_cache
from torch import nn

from search.prepare import References, prepare
from search.reach import refuse_unreachable
from search.results import StudyFolder, TrialRow, row_of
from search.schedulers import SCHEDULERS, per_search
from search.searcher import LOSSES, StudySearcher
from search.study import StudySpec, cell_key
from trainables import artifacts, credentials
from trainables.learning.recovery import RECOVERIES, Pruned
from trainables.spec import SEARCHES, DenseSpec, EpochReport, TrialSpec
from trainables.storage import Folder
from trainables.trial import prune_and_finetune, write_outcome

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study folder holds what they would write
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # lets an autoscaler see that more trials wait
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once: the folder has every finished epoch
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray announces as its future default, without its warning
}


class Watcher(Protocol):
    """Whoever wants to know how a study goes."""

    def say(self, text: str) -> None:
        """Hear a line of news."""

    def planned(self, trials: int) -> None:
        """Hear how many trials are still to come."""

    def started(self, spec: TrialSpec) -> None:
        """Hear that a trial runs."""

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        """Hear of an epoch."""

    def ended(self, row: TrialRow) -> None:
        """Hear that a trial will not go on."""


@dataclass
class _Relay(tune.Callback):
    """Passes Tune's events on, and writes the outcome of a trial that could not do so itself."""

    folder: StudyFolder
    searcher: StudySearcher
    watchers: Sequence[Watcher]
    heard: dict[str, set[int]] = field(default_factory=dict)  # epochs of each running trial, by Tune's id

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's snapshot, which nobody reads, nothing: watchers hold locks and terminals."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for watcher in self.watchers:
            watcher.started(spec_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "error" in result or "val_accuracy" not in result:
            return
        report = EpochReport(**{name: result[name] for name in EpochReport.model_fields})
        self.heard.setdefault(trial.trial_id, set()).add(report.epoch)
        for watcher in self.watchers:
            watcher.epoch(spec_of(trial), report)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end(trial, "stopped", "")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if self.searcher.gave_up(spec_of(trial)):
            self._end(trial, "failed", f"its worker was lost more than {LOSSES} times; see {trial.error_file}")

    def _end(self, trial: Any, status: Any, error: str) -> None:
        spec = spec_of(trial)
        outcome = self.folder.outcome(spec.key())
        if outcome is None:
            outcome = self.folder.unended(spec, status, error)
            write_outcome(self.folder.trial(spec.key()), outcome)
        heard = self.heard.pop(trial.trial_id, set())
        for watcher in self.watchers:
            for report in outcome.history:
                if report.epoch not in heard:
                    watcher.epoch(spec, report)
            watcher.ended(row_of(outcome))


@lru_cache(maxsize=4096)
def _parse_spec(text: str) -> TrialSpec:
    return TrialSpec.model_validate_json(text)


def spec_of(trial: Any) -> TrialSpec:
    """The spec of a Tune trial."""
    return _parse_spec(trial.config["spec"])


def run_trials(study: StudySpec, storage: Folder, address: str | None, watchers: Sequence[Watcher]) -> list[TrialRow]:
    """Run what the study folder does not hold yet; return the rows of all its trials that have ended.

    address: of a running Ray cluster, "auto" for the one of this machine; None starts a local one and stops it after.
    """
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)
    searcher = StudySearcher(study, folder, configure=partial(_configure, study, storage, folder))
    for watcher in watchers:
        watcher.planned(searcher.total)
    if searcher.total == 0:
        searcher.close()
        return folder.write_table()
    with _on_ray(study, address) as gpus:
        try:
            refuse_unreachable(storage)
            references = prepare(study, searcher.specs, storage, gpus, say=watchers[0].say)
            _fit(study, folder, searcher, references, gpus, watchers)
        finally:
            searcher.close()
    return folder.write_table()


def train_dense(
    study: StudySpec, networks: Iterable[DenseSpec], storage: Folder, address: str | None, say: Callable[[str], None]
) -> None:
    """Train dense networks of a study that `storage` lacks, as `run_trials` does before its trials."""
    missing = [TrialSpec(dense=spec) for spec in networks if artifacts.find(storage, "dense", spec.key()) is None]
    if missing:
        with _on_ray(study, address) as gpus:
            refuse_unreachable(storage)
            prepare(study, missing, storage, gpus, say)


@contextmanager
def _on_ray(study: StudySpec, address: str | None) -> Iterator[float]:
    """Be connected to a Ray cluster; yields the GPUs that each trial takes."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    with _chatter_kept_away():
        _connect(address)
        try:
            gpus = study.resources.gpus
            yield (1.0 if ray.cluster_resources().get("GPU") else 0.0) if gpus == "auto" else gpus
        finally:
            ray.shutdown()


@contextmanager
def _chatter_kept_away() -> Iterator[None]:
    """Send what Ray prints to a file, which is kept, and named, only where the run fails."""
    with tempfile.NamedTemporaryFile("w", prefix="howcompact-ray-", suffix=".log", delete=False) as log:
        try:
            with redirect_stdout(log), redirect_stderr(log):
                yield
        except ValueError:
            os.unlink(log.name)
            raise
        except Exception as error:
            error.add_note(f"what Ray said is in {log.name}")
            raise
        os.unlink(log.name)


def _configure(study: StudySpec, storage: Folder, folder: StudyFolder, spec: TrialSpec) -> dict[str, Any]:
    return {
        "spec": spec.model_dump_json(),
        "storage": storage.uri,
        "folder": folder.trial(spec.key()).uri,
        "cpus": study.resources.cpus,
    }


def _connect(address: str | None) -> None:
    # Tune would hand this process's AWS keys on to its trials, and Ray log them; a node has its own
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not credentials.TELLING.search(name)
    }
    dashboard = None if address else False
    ray.init(address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # in place of Ray's: SIGTERM ends a run as Ctrl-C does


def _fit(
    study: StudySpec,
    folder: StudyFolder,
    searcher: StudySearcher,
    references: References,
    gpus: float,
    watchers: Sequence[Watcher],
) -> None:
    scratch = folder.folder / "ray"
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(prune_and_finetune, data=references), {"cpu": study.resources.cpus, "gpu": gpus}
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=per_search(SCHEDULERS[study.search.scheduler], _search_of, _first_epoch_of, searcher.ended),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex[:12],
            storage_path=scratch.uri,
            callbacks=[_Relay(folder, searcher, watchers)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        scratch.delete()


def _search_of(trial: Any) -> tuple[str, str] | None:
    """Name the search that a Tune trial belongs to; None for a trial of a named policy."""
    spec = spec_of(trial)
    return (spec.policy, cell_key(spec)) if spec.policy in SEARCHES else None


def _first_epoch_of(trial: Any) -> int:
    """Find the first epoch that tells allocations apart: 1 where the recovery draws the weights of epoch 0 anew."""
    spec = spec_of(trial)
    return int(RECOVERIES[spec.recovery](Pruned(spec, 1.0, nn.Identity)).anew)
