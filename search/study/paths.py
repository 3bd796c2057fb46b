"""Makes the paths of a study absolute, so that they mean the same in any folder and in a job."""

import re
from collections.abc import Callable
from pathlib import Path

from search.study.spec import StudySpec
from trainables.own_function import is_external

TORCHVISION = re.compile(r"[A-Z0-9_]+")  # names of torchvision's weights, such as IMAGENET1K_V1


def absolute(study: StudySpec, only_present: bool = False) -> StudySpec:
    """Return the study with absolute paths of data, of files with weights and of tables; `~` is the home folder.

    Relative paths start in the current folder. URIs and names of torchvision's weights stay.
    only_present: leave paths that do not exist here, as a cluster may have them.
    """

    def path(text: str) -> str:
        full = Path(text).expanduser().absolute()
        return text if not text or "://" in text or (only_present and not full.exists()) else str(full)

    weights = {
        model: file if _is_torchvision_name(model, file) else _or_unchanged(path, file)
        for model, file in study.weights.items()
    }
    data = study.data.model_copy(update={"path": _or_unchanged(path, study.data.path)})
    curricula = tuple(
        curriculum.model_copy(update={"table": _or_unchanged(path, curriculum.table)}) for curriculum in study.curricula
    )
    places = {name: _or_unchanged(path, getattr(study.given, name)) for name in ("table", "study")}
    given = study.given.model_copy(update=places)
    device = study.device.model_copy(update={"table": _or_unchanged(path, study.device.table)})
    changes = {"data": data, "weights": weights, "curricula": curricula, "given": given, "device": device}
    return study.model_copy(update=changes)


def _is_torchvision_name(model: str, weights: str) -> bool:
    """Whether weights are written as torchvision's names are, which no external model has."""
    return not is_external(model) and TORCHVISION.fullmatch(weights) is not None


def _or_unchanged(function: Callable[[str], str], text: str) -> str:
    try:
        return function(text)
    except (OSError, RuntimeError, ValueError):  # an unknown user after `~`, or no path: the checks name it
        return text
