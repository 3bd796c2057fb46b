"""Running a study: the one place where a Tuner is built. The same call starts, continues and extends."""

import gc
import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from typing import IO, Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from torch import nn

from search.prepare import References, Workshop, place_of, prepare
from search.reach import refuse_unreachable
from search.relay import Relay, Watcher, spec_of
from search.results import StudyFolder
from search.rows import TrialRow
from search.schedulers import SCHEDULERS, per_search
from search.searcher import StudySearcher
from search.study import Resources, StudySpec, cell_key
from trainables import artifacts, credentials
from trainables.learning.recovery import RECOVERIES, Pruned
from trainables.process import Place
from trainables.spec import SEARCHES, DenseSpec, TrialSpec
from trainables.storage import Folder, StorageError
from trainables.trial import prune_and_finetune

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study folder holds what they would write
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # lets an autoscaler see that more trials wait
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the run at once: the folder has every finished epoch
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray announces as its future default, without its warning
}


def run_trials(
    study: StudySpec, storage: Folder, address: str | None, watchers: Sequence[Watcher], check: Callable[[], None]
) -> list[TrialRow]:
    """Run what the study folder does not hold yet; return the rows of all its trials that have ended.

    address: of a running Ray cluster, "auto" for the one of this machine; None starts a local one and stops it after.
    check: asked many times whether to go on; it raises if not.
    """
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)
    searcher = StudySearcher(study, folder, configure=partial(_configure, storage, folder))
    for watcher in watchers:
        watcher.planned(searcher.total)
    if searcher.total == 0:
        searcher.close()
        return folder.write_table()
    with _on_ray(study.resources, address) as place:
        try:
            refuse_unreachable(storage)
            shop = Workshop(storage, place, watchers[0].say)
            sharing = searcher.total if _may_share(study, place) else 0
            references, place = prepare(searcher.specs, shop, sharing)
            _fit(study, folder, searcher, references, place, watchers, check)
        finally:
            searcher.close()
    return folder.write_table()


def train_dense(
    study: StudySpec, networks: Iterable[DenseSpec], storage: Folder, address: str | None, say: Callable[[str], None]
) -> None:
    """Train dense networks of a study that `storage` lacks, as `run_trials` does before its trials."""
    missing = [TrialSpec(dense=spec) for spec in networks if not artifacts.is_sound(storage, "dense", spec.key())]
    if missing:
        with _on_ray(study.resources, address) as place:
            refuse_unreachable(storage)
            prepare(missing, Workshop(storage, place, say))


def _may_share(study: StudySpec, place: Place) -> bool:
    """Whether GPUs may be shared as a probe finds best: never by what is timed there."""
    timed = study.latency or study.search.timed
    return study.resources.gpus == "auto" and place.gpus == 1.0 and place.workers == 1 and not timed


@contextmanager
def _on_ray(resources: Resources, address: str | None) -> Iterator[Place]:
    """Be connected to a Ray cluster; yields what a trial occupies there."""
    os.environ.update({key: value for key, value in ENVIRONMENT.items() if key not in os.environ})
    with _chatter_kept_away():
        local_logs = _connect(address)
        try:
            yield place_of(resources, ray.cluster_resources(), grows=address is not None)
        finally:
            _leave()
    if local_logs:
        shutil.rmtree(local_logs, ignore_errors=True)


@contextmanager
def _chatter_kept_away() -> Iterator[None]:
    """Send what Ray prints to a file without a name, which is given one only where the run fails."""
    with tempfile.TemporaryFile("w+") as log:
        try:
            with redirect_stdout(log), redirect_stderr(log), _logged_to(log):
                yield
        except (ValueError, StorageError):
            raise
        except Exception as error:
            log.seek(0)
            with tempfile.NamedTemporaryFile("w", prefix="howcompact-ray-", suffix=".log", delete=False) as kept:
                shutil.copyfileobj(log, kept)
            error.add_note(f"what Ray said is in {kept.name}")
            raise


@contextmanager
def _logged_to(log: IO[str]) -> Iterator[None]:
    """Send there what Ray's loggers write to a stream that they took when Ray was imported."""
    handlers = [each for each in logging.getLogger("ray").handlers if isinstance(each, logging.StreamHandler)]
    before = [handler.setStream(log) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)


def _configure(storage: Folder, folder: StudyFolder, spec: TrialSpec) -> dict[str, Any]:
    return {
        "spec": spec.model_dump_json(),
        "storage": storage.uri,
        "folder": folder.trial(spec.key()).uri,
    }


def _connect(address: str | None) -> str | None:
    """Connect; return where a Ray that was started for it writes its logs."""
    # Tune would hand this process's AWS keys on to its trials, and Ray log them; a node has its own
    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not credentials.TELLING.search(name)
    }
    dashboard = None if address else False
    ours: Any = ray.init(
        address or "local", include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # in place of Ray's: SIGTERM ends a run as Ctrl-C does
    return None if address else str(ours.address_info["session_dir"])


def _leave() -> None:
    """Shut Ray down; a thread whose garbage has one of Ray's references in it would end this process meanwhile."""
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


def _fit(
    study: StudySpec,
    folder: StudyFolder,
    searcher: StudySearcher,
    references: References,
    place: Place,
    watchers: Sequence[Watcher],
    check: Callable[[], None],
) -> None:
    scratch = folder.folder / "ray"
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(prune_and_finetune, data=references, place=place),
            tune.PlacementGroupFactory(place.bundles),
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
            callbacks=[Relay(folder, searcher, watchers, check)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except Exception as error:
        raise _storage_error(error) or error  # noqa: B904  Tune wraps what its callbacks raise
    finally:
        with suppress(StorageError):  # the next run deletes it
            scratch.delete()


def _storage_error(error: BaseException | None) -> StorageError | None:
    """Find a failure of the storage behind an error."""
    if error is None or isinstance(error, StorageError):
        return error
    return _storage_error(error.__cause__) or _storage_error(error.__context__)


def _search_of(trial: Any) -> tuple[str, str] | None:
    """Name the search that a Tune trial belongs to; None for a trial of a named policy."""
    spec = spec_of(trial)
    return (spec.policy, cell_key(spec)) if spec.policy in SEARCHES else None


def _first_epoch_of(trial: Any) -> int:
    """Find the first epoch that tells allocations apart: 1 where the recovery draws the weights of epoch 0 anew."""
    spec = spec_of(trial)
    return int(RECOVERIES[spec.recovery](Pruned(spec, 1.0, nn.Identity)).anew)
