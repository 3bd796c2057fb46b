"""Copies trials that a search starts from out of earlier studies, so that no trial runs twice."""

import pyarrow.compute as pc

from search.results.folder import OUTCOME, STUDY, StudyFolder
from search.study.spec import StudySpec
from trainables.checkpoints import manifest
from trainables.names import SEARCHED
from trainables.storage.folder import Folder


def adopt(study: StudySpec, storage: Folder) -> dict[str, int]:
    """Copy finished trials of the policies that the searches start from; return study name -> number of its trials.

    A trial is the same if all its settings are the same, those of the dense network included. It keeps its costs.
    """
    if SEARCHED not in study.policies:
        return {}
    folder = StudyFolder(storage / study.name)
    wanted = {spec.key() for spec in study.trials() if spec.policy in study.search.warm_start}
    wanted -= _finished(folder)
    adopted: dict[str, int] = {}
    for name in storage.folders() if wanted else ():
        other = StudyFolder(storage / name)
        if name == study.name or not other.folder.has(STUDY):
            continue
        copied = {key for key in wanted & _finished(other) if _copy(other, folder, key)}
        wanted -= copied
        adopted |= {name: len(copied)} if copied else {}
    return adopted


def _copy(other: StudyFolder, folder: StudyFolder, key: str) -> bool:
    """Copy a trial if it is complete. Its outcome is copied last, so that an interrupted copy is no ended trial.

    Only files with checksums of the trial are copied: in a folder that others write to, a link may point to a secret.
    """
    outcome = other.outcome(key)
    if outcome is None or outcome.spec.key() != key:
        return False
    source, target = other.trial(key), folder.trial(key)
    target.delete()
    for name in source.folders():
        try:
            manifest.write_files(target / name, manifest.read_files(source / name))
        except ValueError:
            return False
    folder.start_trial(outcome.spec)
    target.write(OUTCOME, outcome.to_file())
    return True


def _finished(folder: StudyFolder) -> set[str]:
    table = folder.table(["trial", "status"])
    return set(table.filter(pc.field("status") == "done")["trial"].to_pylist())
