"""What a search starts from, taken over from earlier studies: the same trial need not run twice."""

import pyarrow.compute as pc

from search.results import OUTCOME, SPEC, STUDY, StudyFolder
from search.study import StudySpec
from trainables.spec import SEARCHED
from trainables.storage import Folder


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
        found = wanted & _finished(other)
        for key in found:
            _take(other.trial(key), folder.trial(key))
        wanted -= found
        taken |= {name: len(found)} if found else {}
    return taken


def _take(source: Folder, target: Folder) -> None:
    """Copy a trial; what says that it has ended comes last, so that a copy which breaks off is no trial at all."""
    target.delete()
    for name in source.folders():
        (source / name).copy_to(target / name)
    for name in (SPEC, OUTCOME):
        target.write(name, source.read(name))


def _finished(folder: StudyFolder) -> set[str]:
    table = folder.table(["trial", "status"])
    return set(table.filter(pc.field("status") == "done")["trial"].to_pylist())
