"""Reads a study from YAML and changes it by `key=value`; one error lists all that is wrong."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from search.study import strict_yaml
from search.study.checks import complaints, complaints_of_settings
from search.study.given import Given, read_given
from search.study.paths import absolute
from search.study.shipped import yaml_files
from search.study.spec import StudySpec
from trainables.lookup import did_you_mean
from trainables.mistakes import SHOWN, brief, listed, mistakes

Source = str | Mapping[str, Any]  # a YAML file, the name of a shipped study, or the settings themselves
Overrides = Sequence[str] | Mapping[str, Any]  # "key=value", or settings by dotted name


def shipped() -> dict[str, str]:
    """Return the studies that come with the package: name -> YAML."""
    return yaml_files("studies")


def read_study(source: Source, overrides: Overrides = (), name: str | None = None) -> StudySpec:
    """Read a study from a YAML file, by its shipped name or from a dictionary, and change it by overrides.

    Relative paths become absolute, and given densities are read. Raises ValueError with all that is wrong; mistakes in
    the settings are found without importing torch.
    """
    study = with_given(absolute(parse_study(source, overrides, name)))
    if found := complaints(study):
        raise ValueError("\n".join(found))
    return study


def parse_study(source: Source, overrides: Overrides = (), name: str | None = None) -> StudySpec:
    """Read a study as `read_study` does, but leave the `complaints` to the caller.

    Raises ValueError for unknown settings and for values of a wrong type or range.
    """
    settings = _parse(_text(source), source) if isinstance(source, str) else deepcopy(dict(source))
    for key, value in overrides.items() if isinstance(overrides, Mapping) else map(_parsed, overrides):
        _override(settings, key, value)
    if name is not None:
        settings["name"] = name
    elif isinstance(source, str) and source.endswith((".yaml", ".yml")):
        settings.setdefault("name", Path(source).stem)
    try:
        return StudySpec.model_validate(settings)
    except ValidationError as error:
        lines = [*mistakes(StudySpec, error), *_complaints_of_the_rest(settings, error)]
        raise ValueError("\n".join(lines)) from None


def with_given(study: StudySpec) -> StudySpec:
    """Read the densities of policy "given" into the study. Raises ValueError as `read_given` does."""
    if study.given == Given():
        return study
    return study.model_copy(update={"given": read_given(study.given, study.granularity)})


def _complaints_of_the_rest(settings: dict[str, Any], error: ValidationError) -> list[str]:
    """Say what is wrong with the other settings, so that the user sees all mistakes at once."""
    wrong = {problem["loc"][0] for problem in error.errors()}
    try:
        right = {key: value for key, value in settings.items() if key not in wrong}
        return complaints_of_settings(StudySpec.model_validate({"name": "rest"} | right))
    except ValidationError:
        return []


def _text(source: str) -> str:
    studies = shipped()
    if source in studies:
        return studies[source]
    path = Path(source)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml"):
            raise ValueError(
                f"a study file must exist, but {source!r} does not; write one or name one of: {listed(studies)}"
            )
        raise did_you_mean("study", source, studies)
    with path.open(encoding="utf-8", errors="surrogateescape") as file:  # YAML refuses it with a clear message
        return file.read(strict_yaml.LONGEST + 1)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        settings = strict_yaml.parse(text)
    except ValueError as error:
        raise ValueError(f"a study must be YAML, but {source} is not: {error}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"a study must map settings to values, but {source} holds {type(settings).__name__}")
    return settings


def _parsed(override: str) -> tuple[str, Any]:
    """Split `key=value` and parse the value as YAML."""
    key, equals, value = (part.strip() for part in override.partition("="))
    if not equals or not key:
        raise ValueError(f"--set must be key=value, but got {override!r}; for example --set finetune.epochs=5")
    try:
        return key, strict_yaml.parse(value)
    except ValueError as error:
        problem = str(error).splitlines()[0]
        raise ValueError(f"--set {key} must be a YAML value, but got {brief(value)} ({problem}); quote it") from None


def _override(settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    if len(parents) > strict_yaml.DEEPEST:
        raise ValueError(f"--set must name a setting, but {key[:SHOWN]!r}... is too deep")
    group = settings
    for parent in parents:
        group = group.setdefault(parent, {})
        if not isinstance(group, dict):
            raise ValueError(f"--set {key} must name a setting, but {parent!r} is a value, not a group")
    group[leaf] = value
