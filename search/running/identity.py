"""Identifies data, weights, the user's own code and tables by checksums of their contents, and warns of changes.

This happens before any key is used.
"""

from collections.abc import Callable
from contextlib import suppress

from search.results.folder import StudyFolder
from search.results.names import data_name
from search.study.spec import StudySpec
from trainables.checkpoints import pretrained
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.latency.table import table_content
from trainables.learnability.scores import table_checksum
from trainables.models import own_code
from trainables.own_function import is_external
from trainables.plugins import code_of
from trainables.spec import DenseSpec
from trainables.storage.folder import Folder

Say = Callable[[str], None]


def identified(study: StudySpec, storage: Folder, say: Say) -> StudySpec:
    """Set the checksums of the study's data set, weights, tables and code of the user's own, and its task's metric.

    Raises ValueError as `sources.identified` does, and for weights, code or a table that cannot be read.
    """
    data = sources.identified(study.data, storage, say)
    models = {
        model: _content(DenseSpec(model=model, weights=study.weights.get(model, "")), data) for model in study.models
    }
    functions = own_code.described(study.functions())
    curricula = tuple(
        curriculum.model_copy(
            update={
                "content": _content_of_scores(curriculum, data),
                "code": code_of((curriculum.name, curriculum.measure), functions),
            }
        )
        for curriculum in study.curricula
    )
    contents = {model: content for model, content in models.items() if content} | functions
    recipes = {
        name: recipe.model_copy(update={"code": contents.get(recipe.optimizer, "")})
        for name, recipe in (("dense", study.dense), ("finetune", study.finetune))
    }
    device = study.device
    if device.table:
        device = device.model_copy(update={"content": table_content(device.table)})
    found = {"data": data, "contents": contents, "curricula": curricula, "device": device, **recipes}
    return study.model_copy(update=found)


def warn_of_changes(study: StudySpec, folder: StudyFolder, warn: Say) -> None:
    """Warn where data, weights, code or tables have changed since the study last ran. What they gave runs anew."""
    with suppress(FileNotFoundError, ValueError):  # the study has not run yet, or what it left is damaged
        earlier = folder.study
        if data_name(earlier.data) == data_name(study.data) and earlier.data.content != study.data.content:
            where = f"of task {study.task}" if study.task else f"at {study.data.path}"
            warn(f"the data {where} differs from what study {study.name} was trained on: its networks are trained anew")
        if earlier.task == study.task and earlier.data.task.code != study.data.task.code:
            what = f"the code of task {study.task}"
            warn(f"{what} differs from what study {study.name} was trained with: its networks are trained anew")
        for model in earlier.models:
            if model in study.models and (changed := _changed(model, earlier, study)):
                warn(
                    f"{changed} of {model} differs from what study {study.name} was trained with: its networks are "
                    "trained anew"
                )
        for line in (*_changed_functions(earlier, study), *_changed_scores(earlier, study)):
            warn(line)


def _content(dense: DenseSpec, data: DataSpec) -> str:
    """Return "code 0123456789abcdef, weights 0123456789abcdef", or the part of it that is the user's own."""
    parts = []
    if is_external(dense.model):
        inputs = sources.inputs(data)
        parts.append(f"code {own_code.fingerprint(dense.model, inputs.classes, inputs.image[0])}")
    if weights := pretrained.checksum(dense):
        parts.append(f"weights {weights}")
    return ", ".join(parts)


def _content_of_scores(curriculum: Curriculum, data: DataSpec) -> str:
    """Return the checksum of the table or of the user's own network that scores the samples; empty for another one."""
    if curriculum.table:
        return f"table {table_checksum(curriculum)}"
    return _content(DenseSpec(model=curriculum.network), data) if curriculum.network else ""


def _changed_functions(earlier: StudySpec, study: StudySpec) -> list[str]:
    """Say which functions of the user's own have changed. Samplers and schedulers are in no key of a trial."""
    changed = {
        name: kind
        for name, kind in study.functions().items()
        if earlier.contents.get(name, study.contents[name]) != study.contents[name]
    }
    return [
        f"the code of {name} differs from what study {study.name} ran with: "
        + ("its searches go on with the new code" if kind in ("sampler", "scheduler") else "its trials run anew")
        for name, kind in changed.items()
    ]


def _changed_scores(earlier: StudySpec, study: StudySpec) -> list[str]:
    """Say which tables and scoring networks have changed."""
    before = {(each.table, each.network): each.content for each in earlier.curricula}
    changed = {
        f"the table {each.table}" if each.table else f"the code of {each.network}": None
        for each in study.curricula
        if each.network not in study.models and before.get((each.table, each.network), each.content) != each.content
    }
    return [f"{what} differs from what study {study.name} was trained with: its trials run anew" for what in changed]


def _changed(model: str, earlier: StudySpec, study: StudySpec) -> str:
    """Name what has changed: "the code", "the weights file" or both; empty where nothing has."""
    before, now = ({*found.contents.get(model, "").split(", ")} - {""} for found in (earlier, study))
    kinds = {part.partition(" ")[0] for part in before ^ now}
    return " and ".join(name for kind, name in (("code", "the code"), ("weights", "the weights file")) if kind in kinds)
