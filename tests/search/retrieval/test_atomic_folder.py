"""Folders that are replaced whole or not at all."""

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.retrieval.atomic_folder import replacing

WRITER = """
import sys
from search.retrieval.atomic_folder import replacing
print("ready", flush=True)
while True:
    for letter in "ab":
        with replacing(sys.argv[1]) as fresh:
            for name in "123":
                (fresh / name).write_text(letter)
"""


def fill(folder: Path, letter: str) -> None:
    with replacing(str(folder)) as fresh:
        for name in "123":
            (fresh / name).write_text(letter)


def content(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.iterdir()))


@pytest.fixture(params=["exchange", "steps"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a folder, on a system that can swap two folders at once and on one that cannot."""
    if request.param == "steps":
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    return tmp_path / "home" / "folder"


def test_a_folder_is_made_and_replaced(folder: Path) -> None:
    for letter in "ab":
        fill(folder, letter)
        assert content(folder) == 3 * letter
        assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_a_failure_leaves_the_old_folder(folder: Path) -> None:
    def fail(letter: str) -> None:
        with replacing(str(folder)) as fresh:
            (fresh / "1").write_text(letter)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail("a")
    assert list(folder.parent.iterdir()) == []
    fill(folder, "b")
    with pytest.raises(OSError, match="disk full"):
        fail("c")
    assert content(folder) == "bbb"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_a_link_to_a_folder_stays_a_link(folder: Path) -> None:
    fill(folder, "a")
    (folder.parent / "link").symlink_to(folder)
    fill(folder.parent / "link", "b")
    assert (folder.parent / "link").is_symlink()
    assert content(folder) == "bbb"


def test_a_killed_writer_leaves_a_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder, "a")
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.02 + attempt * 0.007)
            writer.kill()  # as kill -9 does
        assert content(folder) in ("aaa", "bbb")
    fill(folder, "c")
    assert content(folder) == "ccc"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_second_writer_leaves_the_first_ones_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        try:
            for _ in range(200):
                fill(folder, "c")
            assert writer.poll() is None  # it fails if its files are gone
        finally:
            writer.kill()
    assert content(folder) in ("aaa", "bbb", "ccc")


def test_a_kill_between_two_steps_is_mended(tmp_path: Path) -> None:
    """Where two folders cannot be swapped at once, the old folder has another name for a moment."""
    folder, aside = tmp_path / "folder", tmp_path / ".folder.old"
    fill(folder, "a")
    folder.rename(aside)
    with pytest.raises(KeyboardInterrupt), replacing(str(folder)):
        raise KeyboardInterrupt
    assert content(folder) == "aaa"
    fill(aside, "old")
    fill(folder, "b")
    assert content(folder) == "bbb"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
