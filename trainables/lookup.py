"""Look up names in tables. Errors for unknown names show the nearest known names."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Build the error for an unknown name, with the nearest known names."""
    names = sorted(known)
    near = get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"one of: {', '.join(names)}"
    return ValueError(f"{kind} must be a known name, but got {name!r}; {hint}")


def pick(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Return the entry of `name`. Raises ValueError with the nearest names if there is none."""
    if name not in table:
        raise did_you_mean(kind, name, table)
    return table[name]
