"""Finds the artifacts of a storage that no study needs, and deletes them if asked to."""

from collections.abc import Callable
from contextlib import ExitStack

from search.results.folder import STUDY
from search.results.storage_needs import needs_of_storage
from search.results.unneeded import Found, Unneeded, unneeded
from search.running.lease import Lease, active_holder
from search.study.checks import RESERVED
from trainables.frozen import Frozen
from trainables.storage.folder import Folder


class Cleaned(Frozen):
    """The artifacts of a storage that no study needs."""

    storage: str
    studies: list[str]  # whose needs were read
    needed: int  # artifacts that these studies start from, and that are kept if the storage has them
    unneeded: list[Unneeded]
    bytes: int  # of all of them
    deleted: bool


def clean(storage: Folder, delete: bool, warn: Callable[[str], None]) -> Cleaned:
    """List the artifacts that no study of a storage needs; with `delete`, delete them.

    A study needs what its trials start from: those of its settings, and each trial that its folder has. Raises
    ValueError if the storage has no artifacts, while a run is active, and if a study cannot be read.
    """
    _refuse_other_folders(storage)
    names = [name for name in storage.folders() if name not in RESERVED]
    for name in names:
        _refuse_active(storage / name, warn)
    with ExitStack() as leases:
        if delete:  # no run of these studies starts meanwhile
            for name in names:
                if (storage / name).has(STUDY):
                    leases.enter_context(Lease(storage / name, warn))
        needs = needs_of_storage(storage, names)
        found = unneeded(storage, needs)
        if delete:
            for name in storage.folders():  # a new study may have started since
                if name not in needs.studies and name not in RESERVED:
                    _refuse_active(storage / name, warn)
            for each in found:
                _delete(storage, each)
    return Cleaned(
        storage=storage.uri,
        studies=needs.studies,
        needed=len(needs.artifacts),
        unneeded=[each.shown for each in found],
        bytes=sum(each.shown.bytes for each in found),
        deleted=delete,
    )


def _refuse_other_folders(storage: Folder) -> None:
    if storage.has(STUDY):
        raise ValueError(f"clean must get a storage, but {storage.uri} is a study; give {storage.parent.uri}")
    if "artifacts" not in storage.folders():
        raise ValueError(
            f"clean must get a storage, a folder that holds artifacts/, but {storage.uri} has none; give the folder "
            "that --storage names in `howcompact run`"
        )


def _refuse_active(folder: Folder, warn: Callable[[str], None]) -> None:
    if holder := active_holder(folder, warn):
        raise ValueError(
            f"clean must wait until no run uses the storage, but {holder}, is running {folder.uri}; wait for it, or "
            "stop it"
        )


def _delete(storage: Folder, found: Found) -> None:
    """Delete the files of an artifact before its folder, so that no pointer names half of a folder."""
    artifacts = storage / "artifacts" / found.kind
    for name in found.files:
        artifacts.remove(name)
    for name in found.folders:
        (artifacts / name).delete()
