"""Reads a model from values that users or files give; its errors are worded for users."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import groupby
from textwrap import shorten
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainables.storage.credentials import redacted

LONGEST = 300  # characters of an error in one line
SHOWN = 200  # characters of a wrong value in an error
LISTS = {"tuple_type", "list_type"}
GROUPS = {"model_type", "dict_type", "model_attributes_type"}
RULES = {  # pydantic's type of a problem -> the rule that is broken, where its own message says less or more
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "be a number"),
    "string_type": "be a text",
    **dict.fromkeys(("bool_type", "bool_parsing"), "be true or false"),
}

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: object, rule: str = "") -> Model:
    """Build a model from values. Raises ValueError with one line for each mistake, after the rule that they break."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = mistakes(model, error)
    raise ValueError(f"{rule}, but {'; '.join(lines)}" if rule else "\n".join(lines))


def in_one_line(error: BaseException) -> str:
    """Word an error of any class in one line without secrets: its class, and the first paragraph of its text."""
    first, _, _ = str(error).partition("\n\n")  # torch.fx appends paragraphs on its own graph
    return shorten(redacted(f"{type(error).__name__}: {first}"), LONGEST, placeholder=" ...")


def mistakes(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Word each problem that pydantic found in the values of a model: one line for each wrong value."""
    problems: list[dict[str, Any]] = [{**problem, "path": _path(model, problem["loc"])} for problem in error.errors()]
    paths = {problem["path"] for problem in problems}
    lines = []
    for path, of_one in groupby(problems, key=lambda problem: problem["path"]):
        inside = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
        if here := [problem for problem in of_one if not (inside and problem["type"] == "too_short")]:
            lines.append(_worded(model, path, here))  # a list without its wrong items may also be too short
    return lines


def brief(value: object) -> str:
    """Show the beginning of a value without its secrets."""
    text = redacted(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def listed(names: Iterable[str]) -> str:
    """List names in alphabetical order."""
    return ", ".join(sorted(names))


def _path(model: type[BaseModel], location: Sequence[int | str]) -> tuple[int | str, ...]:
    """Leave out the last part of a location if it names an alternative of a union."""
    last = location[-1] if location else 0
    if isinstance(last, str) and len(location) > 1 and _is_union(_annotation(model, location[:-1])):
        location = location[:-1]
    return tuple(location)


def _worded(model: type[BaseModel], path: Sequence[int | str], problems: Sequence[dict[str, Any]]) -> str:
    """Word the problems of one value: one, or one for each alternative that the value could be."""
    location, problem = ".".join(map(str, path)), problems[0]
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"one of: {listed(known)}"
        return f"{location} must be a known setting, but is not; {hint}"
    if problem["type"] == "missing":
        return f"{location} must be given, but is missing"
    if problem["type"] == "value_error":  # of our own check, which says what it got
        return f"{location} is wrong: {problem['ctx']['error']}" if location else str(problem["ctx"]["error"])
    rules = dict.fromkeys(_rule(each) for each in problems)
    got = brief(problem["input"])
    return f"{location or 'the value'} must {' or '.join(rules)}, but got {got}{_hint(location, problem)}"


def _rule(problem: dict[str, Any]) -> str:
    if problem["type"] in LISTS:
        return "be a list"
    if problem["type"] in GROUPS:
        return "be a group of settings"
    if problem["type"] == "too_short":
        return f"have {problem['ctx']['min_length']} or more values"
    if problem["type"] == "string_pattern_mismatch":
        return f"match the pattern {problem['ctx']['pattern']}"
    message: str = problem["msg"]
    said = message.removeprefix("Input should ").removeprefix("Value should ")
    return RULES.get(problem["type"], said if said != message else f"be valid ({message})")


def _hint(location: str, problem: dict[str, Any]) -> str:
    value, kind = problem["input"], problem["type"]
    if kind in LISTS and isinstance(value, str | int | float):
        return f"; write {location}=[{value}]"
    if kind in GROUPS:
        return f"; write its settings one by one, as {location}.SETTING=VALUE"
    if kind == "less_than" and problem["ctx"]["lt"] == 1 and isinstance(value, int | float) and 1 < value < 100:
        return f"; did you mean {value / 100:g}?"
    return ""


def _annotation(model: Any, location: Sequence[int | str]) -> Any:
    """Find the type at a location; None where the models say nothing of it."""
    for part in location:
        if isinstance(part, int) or get_origin(model) is dict:
            of = get_args(model)
            model = of[-1 if get_origin(model) is dict else 0] if of else None
        else:
            field = getattr(model, "model_fields", {}).get(part)
            model = field.annotation if field else None
        model = get_args(model)[0] if get_origin(model) is Annotated else model
    return model


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _fields_at(model: Any, location: Sequence[int | str]) -> list[str]:
    return list(getattr(_annotation(model, location), "model_fields", {}))
