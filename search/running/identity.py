"""Identifies data, files with weights and the user's own models by checksums of their contents, and warns of changes.

This happens before any key is used.
"""

from collections.abc import Callable
from contextlib import suppress

from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from trainables.checkpoints import pretrained
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.models import own_code
from trainables.models.trust import is_users_own
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder

Say = Callable[[str], None]


def identified(study: StudySpec, storage: Folder, say: Say) -> StudySpec:
    """Set the checksums of the study's data set, of its files with weights and of the user's own models.

    Raises ValueError as `sources.identified` does, and for weights or a model that cannot be read.
    """
    data = sources.identified(study.data, storage, say)
    contents = {
        model: _content(DenseSpec(model=model, weights=study.weights.get(model, "")), data) for model in study.models
    }
    curricula = tuple(
        curriculum.model_copy(update={"content": _content(DenseSpec(model=curriculum.network), data)})
        if curriculum.network
        else curriculum
        for curriculum in study.curricula
    )
    known = {model: content for model, content in contents.items() if content}
    return study.model_copy(update={"data": data, "contents": known, "curricula": curricula})


def warn_of_changes(study: StudySpec, folder: StudyFolder, warn: Say) -> None:
    """Warn where data, weights or a model have changed since the study last ran. What they gave is trained anew."""
    with suppress(FileNotFoundError, ValueError):  # the study has not run yet, or what it left is damaged
        earlier = folder.study
        if earlier.data.name == study.data.name and earlier.data.content != study.data.content:
            warn(
                f"the data at {study.data.path} differs from what study {study.name} was trained on: its networks are "
                "trained anew"
            )
        for model in earlier.models:
            if model in study.models and (changed := _changed(model, earlier, study)):
                warn(
                    f"{changed} of {model} differs from what study {study.name} was trained with: its networks are "
                    "trained anew"
                )


def _content(dense: DenseSpec, data: DataSpec) -> str:
    """Return "code 0123456789abcdef, weights 0123456789abcdef", or the part of it that is the user's own."""
    parts = []
    if is_users_own(dense.model):
        shape = sources.peek(data)
        parts.append(f"code {own_code.fingerprint(dense.model, shape.classes, shape.channels)}")
    if weights := pretrained.checksum(dense):
        parts.append(f"weights {weights}")
    return ", ".join(parts)


def _changed(model: str, earlier: StudySpec, study: StudySpec) -> str:
    """Name what has changed: "the code", "the weights file" or both; empty where nothing has."""
    before, now = ({*found.contents.get(model, "").split(", ")} - {""} for found in (earlier, study))
    kinds = {part.partition(" ")[0] for part in before ^ now}
    return " and ".join(name for kind, name in (("code", "the code"), ("weights", "the weights file")) if kind in kinds)
