"""JSON as its standard has it, from whoever wrote it."""

import json
import math
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
