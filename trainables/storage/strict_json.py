"""What is read may be damaged, or written by somebody else: JSON as its standard has it, and one kind of error."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def from_json(text: str) -> Any:
    """Parse JSON; ValueError for the NaN and infinity that the standard does not know, and for endless nesting."""

    def refuse(constant: str) -> float:
        raise ValueError(f"JSON numbers must be finite, but got {constant}")

    def finite(number: str) -> float:
        return value if math.isfinite(value := float(number)) else refuse(number)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("JSON must not be nested without end") from None


@contextmanager
def damage_as_error(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while something that may be damaged is taken apart into a ValueError that names it."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} must be as it was written, but: {type(error).__name__}: {error}") from None
