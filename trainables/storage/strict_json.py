"""JSON by its standard, and one kind of error for content that is damaged or written by somebody else."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def from_json(text: str) -> Any:
    """Parse JSON. Raises ValueError for NaN and infinity, which the standard lacks, and for too deep nesting."""

    def refuse(constant: str) -> float:
        raise ValueError(f"JSON numbers must be finite, but got {constant}")

    def finite(number: str) -> float:
        return value if math.isfinite(value := float(number)) else refuse(number)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("JSON must not be nested too deeply") from None


@contextmanager
def damage_as_error(what: str) -> Iterator[None]:
    """Turn every error while content is read into a ValueError that names the content: `what`."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} must be as it was written, but: {type(error).__name__}: {error}") from None
