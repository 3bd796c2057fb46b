"""The epochs of a training: one checkpoint each, in a folder named by its number. Needs no torch."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from trainables.checkpoints import manifest
from trainables.storage.folder import Folder

PREFIX = "epoch-"
NEEDED = "needed_to_go_on"  # key of a record: groups of tensors to resume from; a finished trial deletes some of them


def epoch_name(epoch: int) -> str:
    """Name the folder of an epoch's checkpoint; names sort as epochs do."""
    return f"{PREFIX}{epoch:05d}"


def epoch_names(folder: Folder) -> list[str]:
    """List the folders of all epochs in `folder`, first epoch first."""
    return [name for name in folder.folders() if name.startswith(PREFIX)]


def can_resume(record: Mapping[str, Any], groups: Collection[str]) -> bool:
    """Whether a checkpoint with these groups of tensors still has all that its training needs to go on."""
    return {*record.get(NEEDED, ())} <= {*groups}


def newest_record(folder: Folder) -> dict[str, Any] | None:
    """Read the record of the newest epoch from which training can resume, without its tensors; None without one.

    A damaged record counts as never written. Damaged tensors go unnoticed.
    """
    for name in reversed(epoch_names(folder)):
        with suppress(ValueError):
            record, groups = manifest.read_record(folder / name)
            if can_resume(record, groups):
                return record
    return None
