"""Functions of the user's own, which settings name as "package.module:function"."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from trainables.lookup import did_you_mean


def is_external(name: str) -> bool:
    """Whether a name with a colon names something outside the catalog: a function, or a network of a library."""
    return ":" in name


def load_function(kind: str, name: str, *arguments: str, **parameters: object) -> Callable[..., Any]:
    """Import the function that a setting names.

    kind: what the setting is, for messages. arguments: what the function is called with, by position, for messages.
    parameters: examples of its keyword arguments. Raises ValueError where the module cannot be imported, where it has
    no such function, and where the function does not take these arguments.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"{kind} {name!r} must name a module that can be imported, but {module_name!r} failed with: {error}; "
            "install it, or put its folder on PYTHONPATH"
        ) from error
    function: Callable[..., Any] | None = getattr(module, function_name, None)
    if not callable(function):
        public = [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
        raise did_you_mean(f"function of {module_name}", function_name, public)
    try:
        inspect.signature(function).bind(*arguments, **parameters)
    except TypeError as error:
        expected = [*arguments, *(f"{parameter}=..." for parameter in parameters)]
        raise ValueError(
            f"{kind} {name!r} must be callable as {function_name}({', '.join(expected)}), but: {error}; give it "
            f"{'this parameter' if len(expected) == 1 else f'these {len(expected)} parameters'}"
        ) from error
    return function
