"""Blob caches: the first process makes each once, complete or not at all."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.blob_cache import Source, open_all

SLOW = """
import sys, tempfile, time
from trainables.data.blob_cache import Source, open_all
tempfile.tempdir = sys.argv[1]
def blobs():
    for number in range(5):
        print(number, flush=True)
        time.sleep(0.2)
        yield b"abc"
(cache,) = open_all([Source("slow", 15, blobs)])
print(cache[4].decode(), flush=True)
"""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"howcompact-{os.getuid()}"


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_blobs_come_back_in_any_order(blobs: list[bytes]) -> None:
    (cache,) = open_all([Source(repr(blobs), 0, lambda: blobs)])
    assert [cache[n] for n in reversed(range(len(blobs)))] == blobs[::-1]


def test_a_cache_is_made_once_for_each_state_of_a_file() -> None:
    cached: list[str] = []

    def source(state: str) -> Source:
        def blobs() -> Iterator[bytes]:
            cached.append(state)
            yield state.encode()

        return Source(state, 1, blobs)

    for state in ("old", "new", "old"):
        assert open_all([source(state), source("other")])[0][0] == state.encode()
    assert cached == ["old", "other", "new"]


def test_two_processes_make_one_cache_and_a_killed_one_leaves_the_next_to_begin_anew(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], stdout=subprocess.PIPE, text=True)

    with start() as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "0\n"
        killed.send_signal(signal.SIGKILL)
    with start() as one, start() as other:
        printed = sorted(process.communicate()[0] for process in (one, other))
    assert printed == ["0\n1\n2\n3\n4\nabc\n", "abc\n"]


def test_a_folder_without_space_is_refused_before_anything_is_written(cache_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"Parquet must be copied to .* but its 1e\+06 GB are more than the .* free"):
        open_all([Source("small", 1, lambda: [b"x"]), Source("large", 10**15, lambda: [b"x"])])
    assert [path.name for path in cache_folder.iterdir()] == ["lock"]


def test_a_folder_of_another_user_is_refused(cache_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    cache_folder.symlink_to(tmp_path / "theirs")
    with pytest.raises(ValueError, match="must be a folder that belongs to you"):
        open_all([Source("x", 1, lambda: [b"x"])])
