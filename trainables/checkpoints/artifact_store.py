"""Artifacts that trials share, such as dense networks and profiles. Each is made once for all studies of a storage."""

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
    """Return the folder of an artifact, or None if none is finished. Its files are not checked.

    key: hash of the settings that the artifact follows from.
    """
    artifacts = storage / "artifacts" / kind
    try:
        return artifacts / str(from_json(artifacts.read(f"{key}.json").decode())["folder"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # a damaged pointer counts as missing
        return None


def unfinished(storage: Folder, name: str) -> Folder:
    """Return the folder of the epochs of a shared training that has not ended.

    name: key of a dense network; for another kind, the kind and the key.
    """
    return storage / "artifacts" / "unfinished" / name


def is_sound(storage: Folder, kind: Kind, key: str) -> bool:
    """Tell whether an artifact is finished and each of its files matches its checksum."""
    folder = find(storage, kind, key)
    try:
        return folder is not None and bool(manifest.read_files(folder))
    except ValueError:
        return False


def find_or_make(storage: Folder, kind: Kind, key: str, make: Callable[[Folder], None]) -> Folder:
    """Return the folder of an artifact. `make` writes it to a fresh folder if it is missing or damaged.

    Several makers at once write to different folders. The pointer is written last and names one complete folder.
    """
    earlier = find(storage, kind, key)
    if earlier is not None and is_sound(storage, kind, key):
        return earlier
    artifacts = storage / "artifacts" / kind
    name = f"{key}-{uuid.uuid4().hex[:8]}"
    make(artifacts / name)
    artifacts.write(f"{key}.json", json.dumps({"folder": name}).encode())
    if earlier is not None:
        earlier.delete()
    return artifacts / name
