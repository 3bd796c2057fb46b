"""Lists the images below a class folder, by suffix, and counts what is left out. Links are followed once."""

import os
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif"),
    ".tiff",
}
SYSTEM = {  # what operating systems and storages add, in lower case
    *("@eadir", "@tmp", "#recycle", "#snapshot", "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "lost+found"),
    *("$recycle.bin", "system volume information", "__pycache__", "icon\r"),
}
KINDS = 12  # of files left out that a message names

LeftOut = Counter[str]  # kind of file or name of folder -> number


def is_system(name: str) -> bool:
    """Tell whether a file or folder is hidden or was added by an operating system or a storage."""
    return name.startswith(".") or name.lower() in SYSTEM


def is_image(name: str) -> bool:
    """Tell whether a file has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def subfolders(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the names of the folders in a folder, sorted. All other entries are counted as left out.

    Raises ValueError if the folder cannot be read.
    """
    names = []
    for entry in _entries(str(folder)):
        if _is_folder(entry) and not is_system(entry.name):
            names.append(entry.name)
        elif left_out is not None:
            outside = " outside class folders" if is_image(entry.name) else ""
            left_out[kind_of(entry.name, _is_folder(entry)) + outside] += 1
    return sorted(names)


def images_below(folder: Path, root: Path, left_out: LeftOut) -> list[str]:
    """Return the names of the images below a folder, relative to the root, sorted by the parts of their paths.

    Each folder is read once, at its own place if it has one here, otherwise at its first link. A link to a folder above
    is left out. Raises ValueError for a folder that cannot be read.
    """
    above = [root.resolve(), *root.resolve().parents]
    seen = {_identity(str(path)) for path in {*above, *(p for p in folder.parents if p.is_relative_to(root))}}
    found: list[list[str]] = []
    waiting = deque([(str(folder), list(folder.relative_to(root).parts))])
    links: list[tuple[str, list[str]]] = []
    while waiting:
        path, parts = waiting.popleft()
        if (identity := _identity(path)) in seen:
            left_out[f"{parts[-1]}/ (a link to a folder that is read already)"] += 1
        else:
            seen.add(identity)
            for entry in _entries(path):
                known = not is_system(entry.name)
                if known and _is_folder(entry):
                    (links if entry.is_symlink() else waiting).append((entry.path, [*parts, entry.name]))
                elif known and is_image(entry.name):
                    found.append([*parts, entry.name])
                else:
                    left_out[kind_of(entry.name, _is_folder(entry))] += 1
        if not waiting:
            waiting.extend(sorted(links))
            links.clear()
    return ["/".join(parts) for parts in sorted(found)]


def described(left_out: LeftOut) -> str:
    """Say what is left out: the most frequent kinds first."""
    kinds = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    texts = [f"{count:,} {kind}" for kind, count in kinds[:KINDS]]
    if rest := sum(count for _, count in kinds[KINDS:]):
        texts.append(f"{rest:,} of {len(kinds) - KINDS} other kinds")
    return ", ".join(texts)


def kind_of(name: str, is_folder: bool) -> str:
    """Return the kind of an entry that is left out: the name of a folder or of a system file, otherwise the suffix."""
    if is_folder:
        return f"{name}/"
    if is_system(name):
        return name if name.lower() in SYSTEM or name == ".DS_Store" else "hidden files"
    return os.path.splitext(name)[1].lower() or "files without suffix"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(folder: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def _unreadable(folder: str, error: OSError) -> ValueError:
    return ValueError(
        f"each folder of a data set must be readable, but {folder!r} is not ({error.strerror}); repair it"
    )
