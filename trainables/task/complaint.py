"""How an error about a task is worded: the field, the rule and the value, in one sentence."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trainables.arguments import Arguments, is_arguments, named_tensors

FEW = 4  # values of a tensor that an error shows


def called(name: str, field: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a task. Raises ValueError that names its field where it fails."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(
            f"{field} of task {name!r} must run, but failed with {type(error).__name__}: {line(error)}; correct it"
        ) from error


def wrong(name: str, field: str, rule: str, value: Any) -> ValueError:
    """Build the error for a wrong field. value: what the field is; a text stands as it is."""
    if isinstance(value, Tensor):
        values = "" if value.numel() > FEW else f": {value.tolist()}"
        value = f"a tensor {shape_of(value)} of {value.dtype}{values}"
    elif is_arguments(value):
        value = f"a {type(value).__name__} of tensors {described(value)}"
    text = value if isinstance(value, str) else short(value)
    return ValueError(f"{field} of task {name!r} must {rule}, but got {text}; correct it")


def described(inputs: Arguments) -> str:
    """Write the shapes and types of inputs, with their names."""
    return ", ".join(f"{name} {shape_of(of)} of {of.dtype}".strip() for name, of in named_tensors(inputs))


def shape_of(tensor: Tensor) -> str:
    """Write the shape of a tensor."""
    return str(tuple(tensor.shape))


def short(value: Any) -> str:
    """Write a value in at most 100 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0]
