"""What trials share, found by content key: dense networks and profiles, made once for all studies of a storage."""

import json
import uuid
from collections.abc import Callable
from typing import Literal

from trainables.pruning.subject import Source
from trainables.storage import Folder
from trainables.strict import from_json

Kind = Literal["dense"] | Source


def find(storage: Folder, kind: Kind, key: str) -> Folder | None:
    """Return the folder of this artifact, or None where nobody has finished one."""
    shelf = storage / "artifacts" / kind
    try:
        name: str = from_json(shelf.read(f"{key}.json").decode())["folder"]
        return shelf / name
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # a damaged pointer points to nothing
        return None


def find_or_make(storage: Folder, kind: Kind, key: str, make: Callable[[Folder], None]) -> Folder:
    """Return the folder of this artifact, made by `make` in a fresh folder where it was missing.

    Makers that race write apart; the pointer, written last, names one whole result.
    """
    found = find(storage, kind, key)
    if found is not None:
        return found
    shelf = storage / "artifacts" / kind
    name = f"{key}-{uuid.uuid4().hex[:8]}"
    make(shelf / name)
    shelf.write(f"{key}.json", json.dumps({"folder": name}).encode())
    return shelf / name
