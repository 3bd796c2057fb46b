"""Immutable settings, and the key that identifies settings by their values."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict

NOT_IN_KEY = "not in key"  # marks a field that does not change results, such as a path: Annotated[str, NOT_IN_KEY]


class Frozen(BaseModel):
    """Base of settings and records: immutable, no unknown fields; errors hide values, which may be secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    def key(self) -> str:
        """Hash the values that differ from their defaults: 16 hex digits. A new field with a default changes no key."""
        changed = self.identity().model_dump(mode="json", exclude_defaults=True)
        canonical = json.dumps(changed, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def identity(self) -> Self:
        """Return the same settings with the defaults in all fields that are marked NOT_IN_KEY, at every depth."""
        defaults, nested = _marked(type(self))
        same = {**defaults, **{name: _identity(getattr(self, name)) for name in nested}}
        changed = {name: value for name, value in same.items() if getattr(self, name) is not value}
        return self.model_copy(update=changed) if changed else self


def _identity(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.identity()
    if isinstance(value, tuple):
        return tuple(map(_identity, value))
    if isinstance(value, Mapping):
        return {name: _identity(entry) for name, entry in value.items()}
    return value


@cache
def _marked(model: type[BaseModel]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Find the defaults of the fields marked NOT_IN_KEY, and the fields whose values have an identity of their own."""
    fields = model.model_fields
    defaults = {name: field.get_default() for name, field in fields.items() if NOT_IN_KEY in field.metadata}
    return defaults, tuple(name for name, field in fields.items() if name not in defaults and _holds(field.annotation))


def _holds(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        own_identity = issubclass(annotation, Frozen) and annotation.identity is not Frozen.identity
        return own_identity or any(_marked(annotation))
    return any(map(_holds, get_args(annotation)))
