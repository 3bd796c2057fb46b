"""What trials share, found by content key: dense networks and profiles, made once for all studies of a storage."""

import json
import uuid
from collections.abc import Callable
from typing import Literal

from trainables.checkpoints import manifest
from trainables.names import Source
from trainables.storage.folder import Folder
from trainables.storage.strict_json import from_json

Kind = Literal["dense"] | Source


def find(storage: Folder, kind: Kind, key: str) -> Folder | None:
    """Return the folder of this artifact, or None where nobody has finished one; whoever reads it checks it."""
    shelf = storage / "artifacts" / kind
    try:
        return shelf / str(from_json(shelf.read(f"{key}.json").decode())["folder"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # a damaged pointer points nowhere
        return None


def is_sound(storage: Folder, kind: Kind, key: str) -> bool:
    """Tell whether this artifact is there and no file of it was damaged."""
    found = find(storage, kind, key)
    try:
        return found is not None and bool(manifest.read_files(found))
    except ValueError:
        return False


def find_or_make(storage: Folder, kind: Kind, key: str, make: Callable[[Folder], None]) -> Folder:
    """Return the folder of this artifact, made by `make` in a fresh folder where it was missing or damaged.

    Makers that race write apart; the pointer, written last, names one whole result.
    """
    found = find(storage, kind, key)
    if found is not None and is_sound(storage, kind, key):
        return found
    shelf = storage / "artifacts" / kind
    name = f"{key}-{uuid.uuid4().hex[:8]}"
    make(shelf / name)
    shelf.write(f"{key}.json", json.dumps({"folder": name}).encode())
    if found is not None:
        found.delete()
    return shelf / name
