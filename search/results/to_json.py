"""Results as JSON objects that begin with the version of their format: what `--json` prints, and files beside pages."""

import json
from collections.abc import Mapping

from pydantic import BaseModel

FORMAT = 1  # grows when a field is removed or renamed, or when its type or meaning changes; not for a new field


def to_json(
    result: BaseModel | Mapping[str, object], indent: int | None = None, exclude: set[str] | None = None
) -> str:
    """Write a result with at least one field as a JSON object. indent: spaces; None writes one line."""
    if isinstance(result, BaseModel):
        text = result.model_dump_json(indent=indent, exclude=exclude)
    else:
        text = json.dumps(result, indent=indent)
    return f'{{"format": {FORMAT},{text[1:]}'
