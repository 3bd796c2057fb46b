"""Results as JSON objects that begin with the version of their format: what `--json` prints, and files beside pages."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from search.results.scale import ACCURACY, public_name

FORMAT = 1  # grows when a field is removed or renamed, or when its type or meaning changes; not for a new field


def to_json(
    result: BaseModel | Mapping[str, object], indent: int | None = None, exclude: set[str] | None = None
) -> str:
    """Write a result with at least one field as a JSON object. indent: spaces; None writes one line."""
    if isinstance(result, BaseModel):
        text = result.model_dump_json(indent=indent, exclude=exclude)
        values = json.loads(text)
        if (renamed := _published(values)) != values:
            text = json.dumps(renamed, indent=indent, ensure_ascii=False)
    else:
        text = json.dumps(result, indent=indent)
    return f'{{"format": {FORMAT},{text[1:]}'


def _published(value: Any) -> Any:
    """Name the fields of each result by its metric: "best_val_accuracy" is "best_val_r2" where the metric is r2."""
    if isinstance(value, list):
        return [_published(each) for each in value]
    if not isinstance(value, dict):
        return value
    metric = value.get("metric", ACCURACY) if "higher_is_better" in value else ACCURACY  # settings have another one
    return {public_name(name, metric): _published(each) for name, each in value.items()}
