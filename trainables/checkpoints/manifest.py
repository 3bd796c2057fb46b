"""Files with checksums: the manifest lists them and is written last, so a folder that has one is whole."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from trainables.storage.folder import LARGEST, Folder
from trainables.storage.strict_json import damage_as_error, from_json

MANIFEST, RECORD, TENSORS = "manifest.json", "record.json", ".safetensors"  # the last one is a suffix


def write_files(folder: Folder, files: Mapping[str, bytes]) -> None:
    """Write files, then the manifest with their checksums."""
    for name, content in files.items():
        folder.write(name, content)
    sums = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in files.items()
    }
    folder.write(MANIFEST, json.dumps({"files": sums}, indent=1).encode())


def is_whole(folder: Folder) -> bool:
    """Whether the manifest exists."""
    return folder.has(MANIFEST)


def read_files(folder: Folder) -> dict[str, bytes]:
    """Read and check every file that the manifest lists, LARGEST bytes in all at most.

    Raises ValueError: it names the file that is missing or differs from its checksum.
    """
    files: dict[str, bytes] = {}
    for name, checksum in _checksums(folder).items():
        files[name] = _checked(folder, name, checksum)
        if sum(map(len, files.values())) > LARGEST:
            raise ValueError(f"checkpoint {folder.uri} must have at most {LARGEST:,} bytes, but has more")
    return files


def read_record(folder: Folder) -> tuple[dict[str, Any], set[str]]:
    """Read and check the record of a checkpoint; return it and the names of its groups of tensors.

    The tensors are not read. Raises ValueError as `read_files`.
    """
    checksums = _checksums(folder)
    if RECORD not in checksums:
        raise ValueError(f"checkpoint {folder.uri} must hold {RECORD}, but its manifest does not list it")
    content = _checked(folder, RECORD, checksums[RECORD])
    with damage_as_error(f"{RECORD} of checkpoint {folder.uri}"):
        record = from_json(content.decode())
    if not isinstance(record, dict):
        raise ValueError(f"{RECORD} of checkpoint {folder.uri} must be a JSON object, but is {type(record).__name__}")
    return record, {name.removesuffix(TENSORS) for name in checksums if name.endswith(TENSORS)}


def drop_groups(folder: Folder, groups: Collection[str]) -> None:
    """Delete groups of tensors from a checkpoint, and the files that a killed writer left in its folder.

    The checkpoint is whole at any moment: the manifest stops listing the files before they are deleted.
    """
    files = from_json(folder.read(MANIFEST).decode())["files"]
    kept = {name: entry for name, entry in files.items() if name.removesuffix(TENSORS) not in groups}
    if len(kept) < len(files):
        folder.write(MANIFEST, json.dumps({"files": kept}, indent=1).encode())
    for name in folder.files():
        if name not in (*kept, MANIFEST):
            folder.remove(name)


def _checksums(folder: Folder) -> dict[str, str]:
    """Read the manifest: file -> SHA-256 in hexadecimal digits."""
    try:
        manifest = from_json(folder.read(MANIFEST).decode())
        return {name: entry["sha256"] for name, entry in manifest["files"].items()}
    except FileNotFoundError:
        raise ValueError(
            f"a checkpoint must have a {MANIFEST}, but {folder.uri} has none: it was not finished"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{MANIFEST} of checkpoint {folder.uri} must list its files, but it was changed") from None


def _checked(folder: Folder, name: str, checksum: str) -> bytes:
    """Read one file; ValueError where it is missing or differs from its checksum."""
    try:
        content = folder.read(name)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {folder.uri} must hold {name}, but it is missing") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{name} of checkpoint {folder.uri} must match its checksum, but it was changed or cut short")
    return content
