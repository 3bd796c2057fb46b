"""What a run would do: trials, dense trainings, searches, time and disk. It starts nothing."""

from collections.abc import Iterable
from contextlib import suppress
from statistics import fmean

from search.results.dense_networks import DenseNetwork, networks_of, read_networks, seconds_left
from search.results.folder import STUDY, StudyFolder
from search.results.names import data_name
from search.results.rows import TrialRow
from search.results.shared_artifacts import SharedArtifact, shared_artifacts
from search.running.identity import Say, identified
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from trainables.checkpoints import manifest
from trainables.checkpoints.epochs import epoch_name
from trainables.frozen import Frozen
from trainables.storage.folder import Folder

SAMPLED = 16  # finished trials whose size is read


class DryRun(Frozen):
    """What a run would do, and what it would reuse. Times and sizes are None where no earlier run tells them."""

    study: str
    trials: int  # to run, with the proposals of searches
    trials_done: int
    searches: int  # that still make proposals
    dense: int  # dense networks to train
    dense_reused: int  # that the storage has
    epochs: int  # of these dense networks and trials
    trial_seconds: float | None  # of all trials, one after the other, by the seconds per epoch of earlier trials
    dense_seconds: float | None
    bytes: int | None  # that the new trials keep, by the size of earlier trials
    artifacts: list[SharedArtifact]  # what the trials start from


def dry_run(study: StudySpec, storage: Folder, say: Say) -> DryRun:
    """Count what a run of the study would do. Reads the files of a data set if their checksums are not known."""
    study = identified(study, storage, say)
    folder = StudyFolder(storage / study.name)
    rows = folder.rows()
    searcher = StudySearcher(study, folder, configure=lambda spec: {})
    trials = searcher.total
    networks = read_networks(networks_of(study), storage)
    missing = [network for network in networks if not network.trained]
    earlier = [*rows, *_other_rows(study, storage)]
    trial_epochs = trials * (1 + study.finetune.epochs)
    per_epoch = _seconds_per_epoch(earlier, study)
    sizes = _sizes(folder, rows)
    return DryRun(
        study=study.name,
        trials=trials,
        trials_done=sum(row.status != "failed" for row in rows),
        searches=searcher.searches,
        dense=len(missing),
        dense_reused=len(networks) - len(missing),
        epochs=trial_epochs + sum(network.epochs_left for network in missing),
        trial_seconds=0.0 if not trials else None if per_epoch is None else trial_epochs * per_epoch,
        dense_seconds=_dense_seconds(networks, per_epoch),
        bytes=round(trials * fmean(sizes)) if sizes else None,
        artifacts=shared_artifacts(study, storage),
    )


def _sizes(folder: StudyFolder, rows: Iterable[TrialRow]) -> list[int]:
    """Bytes of the networks of some finished trials."""
    finished = [row for row in rows if row.status == "done" and row.best_epoch is not None]
    sizes = []
    for row in finished[:SAMPLED]:
        with suppress(ValueError):  # a damaged network has no size
            sizes.append(manifest.total_bytes(folder.trial(row.trial) / epoch_name(row.best_epoch or 0)))
    return sizes


def _other_rows(study: StudySpec, storage: Folder) -> Iterable[TrialRow]:
    """Read the trials of the other studies of a storage. A damaged study has none."""
    for name in storage.folders():
        other = storage / name
        if name != study.name and other.has(STUDY):
            yield from StudyFolder(other).rows()


def _seconds_per_epoch(rows: Iterable[TrialRow], study: StudySpec) -> float | None:
    """Average over the finished trials of the study's models on its data set; None if there is no such trial."""
    alike = [
        row.seconds / row.epochs
        for row in rows
        if row.status == "done" and row.epochs and row.model in study.models and row.dataset == data_name(study.data)
    ]
    return fmean(alike) if alike else None


def _dense_seconds(networks: list[DenseNetwork], per_epoch: float | None) -> float | None:
    """Estimate by the epochs of the study's own dense networks if some are trained, else by the epochs of trials."""
    seconds = seconds_left(networks)
    if seconds is not None or per_epoch is None:
        return seconds
    return per_epoch * sum(network.epochs_left for network in networks)
