"""The shape of what --json prints is written down in search/README.md, and is what the commands' models hold."""

import re
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

from search.comparison.compare import Comparison
from search.comparison.importance import Importances
from search.learnability.summary import Learnability
from search.networks.allocation import Allocation
from search.networks.probe import Probing
from search.networks.profile import Compactness
from search.results.status import StudyStatus
from search.retrieval.best import Front
from search.retrieval.copying import Retrieved
from search.running.run import RunSummary

README = (Path(__file__).parents[3] / "search" / "README.md").read_text()
SECTION = README.partition("## What --json prints")[2].partition("\n## ")[0]
COMMANDS: dict[str, type[BaseModel]] = {
    "run": RunSummary,
    "status": StudyStatus,
    "compare": Comparison,
    "best": Retrieved,
    "best --pareto": Front,
    "importance": Importances,
    "learnability": Learnability,
    "allocate": Allocation,
    "profile": Compactness,
    "probe": Probing,
}


def fields_of(kind: Any) -> dict[str, Any]:
    """Field -> type of a model or of a dataclass; nothing for other types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind) if isinstance(kind, type) and is_dataclass(kind) else {}


def shape(kind: Any) -> str:
    """Write a type as it is in JSON."""
    if fields_of(kind):
        return str(kind.__name__)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return shape(args[0])
    if origin is Literal:
        return "string" if all(isinstance(value, str) for value in args) else "number"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(shape(arg) for arg in args))
    if kind in (Any, object):
        return "any value"
    if kind in (str, bool, NoneType):
        return {str: "string", bool: "true or false", NoneType: "null"}[kind]
    if kind in (int, float):
        return "number"
    if origin in (list, tuple):
        return f"[{', '.join(dict.fromkeys(shape(arg) for arg in args if arg is not ...))}]"
    if len(args) != 2:
        raise TypeError(kind)
    return f"{{{shape(args[0])}: {shape(args[1])}}}"


def models_in(kind: Any) -> list[Any]:
    """Find the models that a type holds, at every depth."""
    if fields := fields_of(kind):
        return [kind, *(model for annotation in fields.values() for model in models_in(annotation))]
    return [model for arg in get_args(kind) for model in models_in(arg)]


def line(model: Any) -> str:
    fields = (f"`{name}` {shape(annotation)}" for name, annotation in fields_of(model).items())
    return f"- **{model.__name__}**: {', '.join(fields)}"


MODELS = {model.__name__: model for root in COMMANDS.values() for model in models_in(root)}


@pytest.mark.parametrize("name", MODELS)
def test_the_readme_has_the_fields_and_types_of_each_object(name: str) -> None:
    assert line(MODELS[name]) in re.sub(r"\n  (?=\S)", " ", SECTION).splitlines()


def test_the_readme_has_no_other_objects() -> None:
    assert set(re.findall(r"^- \*\*(\w+)\*\*", SECTION, re.MULTILINE)) == {*MODELS}


def test_the_readme_says_which_command_prints_which_object() -> None:
    for command, model in COMMANDS.items():
        assert re.search(rf"^\| `{re.escape(command)}` \| {model.__name__}\b", SECTION, re.MULTILINE), command
