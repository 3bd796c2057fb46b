"""Runs the trials of a study on Ray Tune. The same call starts, continues and extends a study."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ray import tune
from torch import nn

from search.methods.schedulers import per_search, scheduler
from search.results.dense_networks import networks_of, read_networks
from search.results.folder import StudyFolder
from search.results.rows import TrialRow, row_of
from search.results.shared_artifacts import missing, shared_artifacts
from search.running.callback import Dropped, TuneCallback, Watcher, spec_of
from search.running.controller import own_controller
from search.running.lease import Lease
from search.running.messages import Messages
from search.running.ray_session import ray_session, refuse_resources
from search.running.shared_work import References, SharedWork, prepare
from search.running.storage_check import refuse_unreachable
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from trainables.checkpoints import artifact_store
from trainables.outcome import Outcome
from trainables.spec import DenseSpec, TrialSpec
from trainables.storage.folder import Folder, StorageError
from trainables.training.process import WorkerResources
from trainables.training.recovery import Pruned, recovery
from trainables.training.train import TrainingPlan
from trainables.trial.trainable import prune_and_finetune, write_outcome

NAMED = 3  # missing artifacts that a message names


def run_trials(
    study: StudySpec,
    storage: Folder,
    address: str | None,
    messages: Messages,
    watchers: Sequence[Watcher],
    check: Callable[[], None],
) -> tuple[list[TrialRow], Counter[str]]:
    """Run the trials that the study folder lacks.

    Artifacts that the storage lacks are made, even if all trials that start from them have ended. Returns the rows of
    all ended trials, and why trials of searches were not proposed: reason -> their number.
    address: of a running Ray cluster, "auto" for this machine's; None starts a local cluster and stops it at the end.
    check: called often; it raises an error to stop the run.
    """
    folder = StudyFolder(storage / study.name)
    folder.write_study(study)
    searcher = StudySearcher(
        study, folder, partial(_configure, storage, folder, study.search.scheduler != "fifo"), Dropped(watchers)
    )
    for watcher in watchers:
        watcher.planned(searcher.total)
    absent = missing(shared_artifacts(study, storage))
    if searcher.total == 0 and not absent:
        searcher.close()
        _tell_trained(study, storage, watchers)
        return folder.write_table(), searcher.left_out
    if searcher.total == 0:
        names = "; ".join(f"{artifact.kind} of {artifact.name}" for artifact in absent[:NAMED])
        more = f" and {len(absent) - NAMED} more" if absent[NAMED:] else ""
        messages.say(f"the storage lacks what ended trials started from; this run makes it again: {names}{more}")
    with ray_session(study.resources, address, messages) as resources:
        try:
            refuse_unreachable(storage)
            shared_work = SharedWork(storage, resources, messages, local=address is None)
            sharing = searcher.total if may_share(study, resources) else 0
            started_from = [*study.cells(), *study.trials()] if absent else []
            references, resources, failures = prepare([*searcher.specs, *started_from], shared_work, sharing)
            _tell_trained(study, storage, watchers)
            for outcome in searcher.leave_out(failures.reason):
                _fail(outcome, folder, watchers)
            if searcher.total:
                _fit(study, folder, searcher, references, resources, watchers, check)
        finally:
            searcher.close()
    return folder.write_table(), searcher.left_out


def _tell_trained(study: StudySpec, storage: Folder, watchers: Sequence[Watcher]) -> None:
    """Tell the watchers of the dense networks that trials start from."""
    networks = [network for network in read_networks(networks_of(study), storage) if network.trained]
    for watcher in watchers:
        watcher.trained(networks)


def train_dense(
    study: StudySpec, networks: Iterable[DenseSpec], storage: Folder, address: str | None, messages: Messages
) -> None:
    """Train dense networks of a study that `storage` lacks, as `run_trials` does before its trials.

    Raises ValueError with a line for each network that fails, after all others are trained, and while a run of the
    study is active.
    """
    missing = [TrialSpec(dense=spec) for spec in networks if not artifact_store.is_sound(storage, "dense", spec.key())]
    if missing:
        refuse_resources(study.resources, address)
        with (
            Lease(storage / study.name, messages.warn),
            ray_session(study.resources, address, messages) as resources,
        ):
            refuse_unreachable(storage)
            _, _, failures = prepare(missing, SharedWork(storage, resources, messages, local=address is None))
        if failures.messages:
            raise ValueError("\n".join(failures.messages))


def _fail(outcome: Outcome, folder: StudyFolder, watchers: Sequence[Watcher]) -> None:
    """Record a trial that fails before it starts."""
    folder.start_trial(outcome.spec)
    write_outcome(folder.trial(outcome.spec.key()), outcome)
    for watcher in watchers:
        watcher.started(outcome.spec)
        watcher.ended(row_of(outcome))


def may_share(study: StudySpec, resources: WorkerResources) -> bool:
    """Whether trials may share GPUs: never if the study measures times on them."""
    timed = study.latency or study.search.timed
    return study.resources.gpus == "auto" and resources.gpus == 1.0 and resources.workers == 1 and not timed


def _configure(storage: Folder, folder: StudyFolder, judged: bool, spec: TrialSpec) -> dict[str, Any]:
    return {
        "spec": spec.model_dump_json(),
        "storage": storage.uri,
        "folder": folder.trial(spec.key()).uri,
        "judged": judged,
    }


def _fit(
    study: StudySpec,
    folder: StudyFolder,
    searcher: StudySearcher,
    references: References,
    resources: WorkerResources,
    watchers: Sequence[Watcher],
    check: Callable[[], None],
) -> None:
    scratch = folder.folder / "ray"
    epochs = 1 + max((_plan(cell).epochs for _, cells in study.searches() for cell in cells), default=0)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(prune_and_finetune, data=references, resources=resources),
            tune.PlacementGroupFactory(resources.bundles),
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=per_search(
                partial(scheduler(study.search.scheduler), study.search.goals, epochs),
                lambda trial: searcher.search_of(spec_of(trial)),
                first_epoch_of,
                searcher.ended,
                study.data.task.metric,
            ),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex[:12],
            storage_path=scratch.uri,
            callbacks=[TuneCallback(folder, searcher, watchers, check)],
            verbose=0,
        ),
    )
    try:
        with own_controller():
            tuner.fit()
    except Exception as error:
        raise _storage_error(error) or error  # noqa: B904  Tune wraps what its callbacks raise
    finally:
        with suppress(StorageError):  # the next run deletes it
            scratch.delete()


def _storage_error(error: BaseException | None) -> StorageError | None:
    """Find the storage error that caused an error, if one did."""
    if error is None or isinstance(error, StorageError):
        return error
    return _storage_error(error.__cause__) or _storage_error(error.__context__)


def first_epoch_of(trial: Any) -> int:
    """First epoch that distinguishes allocations: 1 if the recovery reinitialises the weights of epoch 0."""
    return int(_plan(spec_of(trial)).reinitialise)


def _plan(spec: TrialSpec) -> TrainingPlan:
    """Plan a trial's recovery as if nothing had been pruned."""
    return recovery(spec.recovery)(Pruned(spec, 1.0, nn.Identity))
