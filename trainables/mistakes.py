"""Reads a model from values that users or files give; its errors are worded for users."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from trainables.storage.credentials import redacted

SHOWN = 200  # characters of a wrong value in an error

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: object, rule: str = "") -> Model:
    """Build a model from values. Raises ValueError with one line for each mistake, after the rule that they break."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = mistakes(model, error)
    raise ValueError(f"{rule}, but {'; '.join(lines)}" if rule else "\n".join(lines))


def mistakes(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Word each problem that pydantic found in the values of a model."""
    return [_worded(model, problem) for problem in error.errors()]


def brief(value: object) -> str:
    """Show the beginning of a value without its secrets."""
    text = redacted(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def listed(names: Iterable[str]) -> str:
    """List names in alphabetical order."""
    return ", ".join(sorted(names))


def _worded(model: type[BaseModel], problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"one of: {listed(known)}"
        return f"{location} must be a known setting, but is not; {hint}"
    if problem["type"] == "missing":
        return f"{location} must be given, but is missing"
    subject = f"{location} is wrong: " if location else ""
    if problem["type"] == "value_error":  # of our own check, which says what it got
        return f"{subject}{problem['ctx']['error']}"
    return f"{subject}{problem['msg']}, but got {brief(problem['input'])}"


def _fields_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    for part in location:
        model = get_args(model)[0] if isinstance(part, int) else model.model_fields[part].annotation
        model = get_args(model)[0] if get_origin(model) is Annotated else model
    return list(model.model_fields)
