"""Random damages to the files of a study."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.results.rows import SCHEMA, TrialRow, from_parquet, from_table
from trainables.storage.sealed_json import unsealed


def rows_of(table: Path) -> list[TrialRow] | None:
    """Read the rows of results.parquet; None if it cannot be read."""
    try:
        return from_table(from_parquet(table.read_bytes(), SCHEMA.names))
    except (ValueError, FileNotFoundError):
        return None


def change_a_byte(file: Path, others: list[Path], rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= rng.randrange(1, 256)
    file.write_bytes(content)


def cut_off(file: Path, others: list[Path], rng: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.randrange(len(content))])


def delete(file: Path, others: list[Path], rng: random.Random) -> None:
    file.unlink()


def swap(file: Path, others: list[Path], rng: random.Random) -> None:
    """Swap two files of the same name, or replace the file by another one."""
    alike = [other for other in others if other.name == file.name] or others
    other = rng.choice(alike)
    aside = file.with_suffix(".aside")
    file.rename(aside)
    shutil.move(other, file)
    shutil.move(aside, other)


def edit_json(file: Path, others: list[Path], rng: random.Random) -> None:
    """Change one value of a JSON file, and keep it valid JSON; change a byte of any other file."""
    try:
        values = json.loads(file.read_bytes())
    except ValueError:
        return change_a_byte(file, others, rng)
    holder, key = rng.choice(list(_places(values)))
    holder[key] = _changed(holder[key], rng)
    file.write_bytes(json.dumps(values).encode())
    return None


def drop_the_checksum(file: Path, others: list[Path], rng: random.Random) -> None:
    try:
        file.write_bytes(unsealed(file.read_bytes()))
    except ValueError:
        cut_off(file, others, rng)


DAMAGES: list[Callable[[Path, list[Path], random.Random], None]] = [
    *(change_a_byte, cut_off, delete, swap, edit_json, edit_json, drop_the_checksum)
]


def damage(root: Path, rng: random.Random) -> str:
    """Damage one file below a folder at random; return what was done."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    file = rng.choice(files)
    how = rng.choice(DAMAGES)
    others = [path for path in files if path != file and path.read_bytes() != file.read_bytes()]
    how(file, others, rng)
    return f"{how.__name__} {file.relative_to(root)}"


def _places(values: Any) -> Any:
    entries = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in list(entries):
        yield values, key
        if isinstance(value, dict | list) and value:
            yield from _places(value)


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice([1, -1, 0.001])
    return rng.choice(["x", None, 0, [], {}, 0.99, "done", "uniform"])
