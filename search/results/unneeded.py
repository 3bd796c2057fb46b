"""The artifacts of a storage that no study needs, and what killed writers left.

Files and folders whose names are not those of a storage are left alone.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from search.results.shared_artifacts import words_of
from search.results.storage_needs import Needs
from trainables.artifacts.needs import SPECS
from trainables.checkpoints import artifact_store, manifest
from trainables.checkpoints.artifact_store import Kind
from trainables.frozen import Frozen
from trainables.spec import DenseSpec, GatingSpec, ProbeSpec, ProfileSpec
from trainables.storage.folder import Folder

MODELS: Mapping[Kind, type[Frozen]] = {
    "dense": DenseSpec,
    "probe": ProbeSpec,
    "profile": ProfileSpec,
    "gates": GatingSpec,
}
KEY = "[0-9a-f]{16}"
POINTER = re.compile(rf"({KEY})\.json")
FOLDER = re.compile(rf"({KEY})-[0-9a-f]{{8}}")
UNFINISHED = re.compile(rf"(?:({'|'.join(SPECS)})-)?({KEY})")
RECORD = re.compile(rf"{KEY}\.parquet")
HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{32}")

NO_STUDY = "no study needs it"
KILLED = "left by a writer that was killed"
ENDED = "its training has ended"


class Unneeded(Frozen):
    """An artifact that no study needs, or what is left of one."""

    path: str  # of its folder or file below the storage
    name: str  # what it is, in words
    reason: str
    bytes: int


@dataclass(frozen=True)
class Found:
    """An unneeded artifact, with all that belongs to it in the folder of its kind."""

    shown: Unneeded
    kind: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def unneeded(storage: Folder, needs: Needs) -> list[Found]:
    """List the artifacts that no study needs, unfinished trainings and files of data that no study reads."""
    return [
        *(found for kind in MODELS for found in _of_kind(storage, kind, needs)),
        *_unfinished(storage, needs),
        *_records(storage, needs),
    ]


def _of_kind(storage: Folder, kind: Kind, needs: Needs) -> Iterator[Found]:
    """Find artifacts that no study needs, and folders that no pointer names."""
    artifacts = storage / "artifacts" / kind
    files, folders = artifacts.files(), {*artifacts.folders()}
    named: set[str] = set()
    for file in files:
        key = POINTER.fullmatch(file)
        target = artifact_store.find(storage, kind, key[1]) if key else None
        if key and (kind, key[1]) in needs.artifacts:
            named |= {target.name} if target else set()
        elif key and target and FOLDER.fullmatch(target.name) and target.name in folders and target.name[:16] == key[1]:
            named.add(target.name)
            yield _found(storage, kind, _words(target, kind), NO_STUDY, (file,), (target.name,))
        elif key:
            yield _found(storage, kind, f"{kind}, without its folder", NO_STUDY, (file,))
        elif HALF_WRITTEN.fullmatch(file):
            yield _found(storage, kind, "half of a file", KILLED, (file,))
    for folder in sorted(folders - named):
        if FOLDER.fullmatch(folder):
            yield _found(storage, kind, _words(artifacts / folder, kind), KILLED, folders=(folder,))


def _unfinished(storage: Folder, needs: Needs) -> Iterator[Found]:
    """Find unfinished trainings that no study needs, or that have ended since."""
    for name in (storage / "artifacts" / "unfinished").folders():
        if not (match := UNFINISHED.fullmatch(name)):
            continue
        kind: Kind = next((kind for kind in SPECS if kind == match[1]), "dense")
        ended = artifact_store.find(storage, kind, match[2])
        if (kind, match[2]) not in needs.artifacts:
            yield _found(storage, "unfinished", f"unfinished {kind}", NO_STUDY, folders=(name,))
        elif ended is not None and manifest.is_whole(ended):
            yield _found(storage, "unfinished", f"unfinished {kind}", ENDED, folders=(name,))


def _records(storage: Folder, needs: Needs) -> Iterator[Found]:
    """Find checksums of data that no study reads."""
    for file in (storage / "artifacts" / "data").files():
        if RECORD.fullmatch(file) and file not in needs.records:
            yield _found(storage, "data", "checksums of data", NO_STUDY, (file,))
        elif HALF_WRITTEN.fullmatch(file):
            yield _found(storage, "data", "half of a file", KILLED, (file,))


def _found(
    storage: Folder, kind: str, name: str, reason: str, files: tuple[str, ...] = (), folders: tuple[str, ...] = ()
) -> Found:
    artifacts = storage / "artifacts" / kind
    size = sum(artifacts.size(each) for each in (*files, *folders))
    path = f"artifacts/{kind}/{(*folders, *files)[0]}"
    return Found(Unneeded(path=path, name=name, reason=reason, bytes=size), kind, files, folders)


def _words(folder: Folder, kind: Kind) -> str:
    """Describe an artifact by the spec in its record."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        content, _ = manifest.read_record(folder)
        return f"{kind}, {words_of(kind, MODELS[kind].model_validate(content['spec']))}"
    return kind
