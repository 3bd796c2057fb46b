"""Files with checksums. The manifest lists them and is written last: a folder with a manifest is whole.

The manifest is {"sha256": checksum of the list, "files": {name: {"sha256": checksum, "bytes": size}}}. Checksums are
SHA-256 in hexadecimal digits. The checksum of the list covers its JSON with sorted keys and without spaces.
"""

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
    entries = {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in files.items()}
    folder.write(MANIFEST, manifest_of(entries))


def manifest_of(entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the manifest of a list of files: name -> {"sha256": checksum, "bytes": size}."""
    return json.dumps({"sha256": _checksum_of_list(entries), "files": entries}, indent=1).encode()


def is_whole(folder: Folder) -> bool:
    """Tell whether the manifest exists. Its content is not checked."""
    return folder.has(MANIFEST)


def listed(folder: Folder) -> set[str]:
    """Return the names of the files that the manifest lists. Raises ValueError where it is missing or was changed."""
    return set(_entries(folder))


def total_bytes(folder: Folder) -> int:
    """Return the bytes of the files that the manifest lists. Raises ValueError where it is missing or was changed."""
    return sum(int(entry["bytes"]) for entry in _entries(folder).values())


def read_files(folder: Folder) -> dict[str, bytes]:
    """Read and check every file that the manifest lists, at most LARGEST bytes together.

    Raises ValueError, which names the file that is missing or differs from its checksum.
    """
    files: dict[str, bytes] = {}
    for name, entry in _entries(folder).items():
        files[name] = _checked(folder, name, entry["sha256"])
        if sum(map(len, files.values())) > LARGEST:
            raise ValueError(f"checkpoint {folder.uri} must have at most {LARGEST:,} bytes, but has more")
    return files


def read_record(folder: Folder) -> tuple[dict[str, Any], set[str]]:
    """Read and check the record of a checkpoint. Return it and the names of the groups of tensors.

    The tensors are not read. Raises ValueError as `read_files`.
    """
    entries = _entries(folder)
    if RECORD not in entries:
        raise ValueError(f"checkpoint {folder.uri} must hold {RECORD}, but its manifest does not list it")
    content = _checked(folder, RECORD, entries[RECORD]["sha256"])
    with damage_as_error(f"{RECORD} of checkpoint {folder.uri}"):
        record = from_json(content.decode())
    if not isinstance(record, dict):
        raise ValueError(f"{RECORD} of checkpoint {folder.uri} must be a JSON object, but is {type(record).__name__}")
    return record, {name.removesuffix(TENSORS) for name in entries if name.endswith(TENSORS)}


def drop_groups(folder: Folder, groups: Collection[str]) -> None:
    """Delete groups of tensors from a checkpoint, and the files that a killed writer left in its folder.

    The checkpoint is whole at any moment: the manifest stops listing the files before they are deleted. Raises
    ValueError where the manifest is missing or was changed.
    """
    entries = _entries(folder)
    kept = {name: entry for name, entry in entries.items() if name.removesuffix(TENSORS) not in groups}
    if len(kept) < len(entries):
        folder.write(MANIFEST, manifest_of(kept))
    for name in folder.files():
        if name not in (*kept, MANIFEST):
            folder.remove(name)


def _entries(folder: Folder) -> dict[str, dict[str, Any]]:
    """Read and check the list of the manifest: file name -> {"sha256": checksum, "bytes": size}."""
    try:
        content = folder.read(MANIFEST)
    except FileNotFoundError:
        raise ValueError(
            f"a checkpoint must have a {MANIFEST}, but {folder.uri} has none: it was not finished"
        ) from None
    try:
        document = from_json(content.decode())
        entries: dict[str, dict[str, Any]] = document["files"]
        if document["sha256"] != _checksum_of_list(entries) or not all(entry["sha256"] for entry in entries.values()):
            raise ValueError("the list differs from its checksum")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(
            f"{MANIFEST} of checkpoint {folder.uri} must list its files and match its own checksum, but it was changed"
        ) from None
    return entries


def _checksum_of_list(entries: Mapping[str, Mapping[str, Any]]) -> str:
    return _sha256(json.dumps(entries, sort_keys=True, separators=(",", ":")).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checked(folder: Folder, name: str, checksum: str) -> bytes:
    """Read one file. Raises ValueError where it is missing or differs from its checksum."""
    try:
        content = folder.read(name)
    except FileNotFoundError:
        raise ValueError(f"checkpoint {folder.uri} must hold {name}, but it is missing") from None
    if _sha256(content) != checksum:
        raise ValueError(f"{name} of checkpoint {folder.uri} must match its checksum, but it was changed or cut short")
    return content
