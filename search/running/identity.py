"""Finds the content of a study's data set before any key is used, and says if it has changed."""

from collections.abc import Callable
from contextlib import suppress

from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from trainables.data import sources
from trainables.storage.folder import Folder

Say = Callable[[str], None]


def identified(study: StudySpec, storage: Folder, say: Say) -> StudySpec:
    """Set the checksum of the study's data set. Raises ValueError as `sources.identified` does."""
    return study.model_copy(update={"data": sources.identified(study.data, storage, say)})


def warn_of_other_data(study: StudySpec, folder: StudyFolder, warn: Say) -> None:
    """Warn where the data set has changed since the study last ran: nothing that was trained on it is used again."""
    with suppress(FileNotFoundError, ValueError):  # the study has not run yet, or what it left is damaged
        earlier = folder.study.data
        if earlier.name == study.data.name and earlier.content != study.data.content:
            warn(
                f"the data at {study.data.path} differs from what study {study.name} was trained on: its networks are "
                "trained anew"
            )
