"""What a search starts from, taken over from earlier studies: the same trial need not run twice."""

import pyarrow.compute as pc

from search.results.folder import OUTCOME, STUDY, StudyFolder
from search.study.spec import StudySpec
from trainables.checkpoints import manifest
from trainables.names import SEARCHED
from trainables.storage.folder import Folder


def adopt(study: StudySpec, storage: Folder) -> dict[str, int]:
    """Copy finished trials of the policies that the study's searches start from: study that had them -> their number.

    A trial is the same where all its settings are, the dense network and its seed included. It keeps what it cost.
    """
    if SEARCHED not in study.policies:
        return {}
    folder = StudyFolder(storage / study.name)
    wanted = {spec.key() for spec in study.trials() if spec.policy in study.search.warm_start}
    wanted -= _finished(folder)
    taken: dict[str, int] = {}
    for name in storage.folders() if wanted else ():
        other = StudyFolder(storage / name)
        if name == study.name or not other.folder.has(STUDY):
            continue
        found = {key for key in wanted & _finished(other) if _take(other, folder, key)}
        wanted -= found
        taken |= {name: len(found)} if found else {}
    return taken


def _take(other: StudyFolder, folder: StudyFolder, key: str) -> bool:
    """Copy a trial, if it is whole; what says that it has ended comes last, so that half a copy is no trial at all.

    Only what its own checksums tell of is copied: a link in a folder that others write to may point to a secret.
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
    target.write(OUTCOME, outcome.model_dump_json().encode())
    return True


def _finished(folder: StudyFolder) -> set[str]:
    table = folder.table(["trial", "status"])
    return set(table.filter(pc.field("status") == "done")["trial"].to_pylist())
