"""What contracts share: a call that may fail, a rule that must hold, and a value in a message."""

from collections.abc import Callable
from typing import Any


def called(name: str, function: Callable[..., Any], *arguments: object, on: str = "small_cnn") -> Any:
    """Call a function of the user's own, or a method of what it made; a failure is a ValueError that names it."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ValueError(
            f"{name} must run on {on}, but failed with {type(error).__name__}: {error}; correct it"
        ) from error


def must(held: bool, rule: str) -> None:
    """Raise a ValueError that says the rule if it does not hold."""
    if not held:
        raise ValueError(rule)


def short(value: object) -> str:
    """Show a value in at most 120 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."
