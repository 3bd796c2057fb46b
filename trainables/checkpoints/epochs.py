"""The epochs of a training: each is a checkpoint in a folder named by its number. Needs no torch."""

from contextlib import suppress

from trainables.checkpoints import manifest
from trainables.checkpoints.record import ProgressRecord
from trainables.storage.folder import Folder

PREFIX = "epoch-"


def epoch_name(epoch: int) -> str:
    """Name the folder of an epoch's checkpoint; names sort as epochs do."""
    return f"{PREFIX}{epoch:05d}"


def epoch_names(folder: Folder) -> list[str]:
    """List the folders of all epochs in `folder`, first epoch first."""
    return [name for name in folder.folders() if name.startswith(PREFIX)]


def newest_record(folder: Folder) -> ProgressRecord | None:
    """Read the record of the newest epoch from which training can resume, without its tensors; None if there is none.

    A damaged record counts as never written. Tensors are not checked.
    """
    for name in reversed(epoch_names(folder)):
        with suppress(ValueError):
            content, groups = manifest.read_record(folder / name)
            record = ProgressRecord.model_validate(content)
            if record.can_resume(groups):
                return record
    return None
