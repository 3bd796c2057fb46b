import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow import fs

from tests.search.object_store import object_store
from tests.search.waiting import until
from trainables.storage.folder import PAUSES, Folder, StorageError


class Elsewhere(Folder):
    """A folder that goes through pyarrow as remote ones do, kept in a local directory."""

    @property
    def is_local(self) -> bool:
        return False

    @property
    def _location(self) -> tuple[fs.FileSystem, str]:
        system = fs.SubTreeFileSystem(self.base, fs.LocalFileSystem())
        system.create_dir(self.inside or "top", recursive=True)  # object stores need no directories
        return system, self.inside or "top"

    def __truediv__(self, name: str) -> "Elsewhere":
        return Elsewhere(self.base, f"{self.inside}/{name}" if self.inside else name)


@pytest.fixture(params=["local", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path)) if request.param == "local" else Elsewhere(str(tmp_path))


def test_files_come_back_as_they_were_written(folder: Folder) -> None:
    folder = folder / "a" / "b"
    for content in (b"one", b"", b"\0" * 70_000):
        folder.write("file", content)
        assert folder.read("file") == content
        assert folder.has("file")
    assert not folder.has("other")
    assert not (folder / "a").has("b")  # a folder is no file
    assert not (folder / "nowhere").has("file")
    with pytest.raises(FileNotFoundError):
        folder.read("other")


def test_folders_are_listed_and_deleted(folder: Folder) -> None:
    folder = folder / "shelf"
    for name in ("b", "a", "c"):
        (folder / name / "deep").write("file", b"x")
    folder.write("file", b"x")
    assert folder.folders() == ["a", "b", "c"]
    assert folder.files() == ["file"]
    (folder / "b").delete()
    (folder / "b").delete()
    assert folder.folders() == ["a", "c"]
    assert folder.has("file")


def test_folder_that_is_not_there_has_no_folders(tmp_path: Path) -> None:
    assert Folder.at(str(tmp_path / "no")).folders() == []
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("uri", "inside", "name"),
    [
        ("s3://bucket/runs?region=x&scheme=http", "s3://bucket/runs/one/two?region=x&scheme=http", "two"),
        ("s3://bucket/runs/", "s3://bucket/runs/one/two", "two"),
        ("gs://bucket", "gs://bucket/one/two", "two"),
        ("/data/what?", "/data/what?/one/two", "two"),
    ],
)
def test_uri_keeps_its_query_at_the_end(uri: str, inside: str, name: str) -> None:
    assert (Folder(uri) / "one" / "two").uri == inside
    assert (Folder(uri) / "one" / "two").name == name
    assert Folder(uri).uri == uri


def test_name_is_the_last_part_of_the_path() -> None:
    assert Folder("s3://bucket/runs?region=x").name == "runs"
    assert Folder("/data/what?").name == "what?"


def test_local_paths_become_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("runs", "~/runs", str(tmp_path / "runs"), f"file://{tmp_path}/runs", f"{tmp_path}/x/../runs/"):
        assert Folder.at(text) == Folder(str(tmp_path / "runs"))


@pytest.mark.parametrize("uri", ["nowhere://x", "s3//:x://y", "file://host/x"])
def test_unknown_storage_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="storage must be a folder or a URI that pyarrow can open"):
        Folder.at(uri)


def test_folder_travels_by_pickle_also_after_use(tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path)) / "a"
    folder.write("file", b"x")
    assert pickle.loads(pickle.dumps(folder)) == folder
    assert pickle.loads(pickle.dumps(folder)).read("file") == b"x"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the pauses between attempts, without waiting for them."""
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=pauses.append))
    return pauses


def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    folder = Folder.at(str(tmp_path))
    folder.write("file", b"old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=f"write fails in {tmp_path}: disk full; check its free space"):
        folder.write("file", b"new")
    assert pauses == list(PAUSES)
    assert folder.read("file") == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.usefixtures("pauses")
def test_what_fails_for_a_moment_only_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, failures = os.replace, iter(range(3))

    def shaky(source: str, target: str) -> None:
        for _ in failures:
            raise OSError("away")
        replace(source, target)

    monkeypatch.setattr(os, "replace", shaky)
    folder = Folder.at(str(tmp_path))
    folder.write("file", b"x")
    assert folder.read("file") == b"x"


def test_a_storage_that_keeps_failing_is_a_storage_error_but_a_missing_file_is_not(
    tmp_path: Path, pauses: list[float]
) -> None:
    folder = Folder.at(str(tmp_path)) / "folder"
    with pytest.raises(FileNotFoundError) as answer:
        folder.read("file")
    assert not isinstance(answer.value, StorageError)
    assert pauses == []
    (tmp_path / "folder").write_text("no folder")
    for call in (lambda: folder.write("file", b"x"), lambda: folder.read("file"), folder.folders):
        with pytest.raises(StorageError, match="storage must work") as failure:
            call()
        error = pickle.loads(pickle.dumps(failure.value))  # as it comes from a worker
        assert (type(error), str(error)) == (StorageError, str(failure.value))


WRITER = """
import sys
from trainables.storage.folder import Folder
folder, size = Folder.at(sys.argv[1]), 4_000_000
print("ready", flush=True)
while True:
    for byte in (b"a", b"b"):
        folder.write("file", byte * size)
"""


def test_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    folder.write("file", b"a" * 4_000_000)
    for attempt in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            stop = time.monotonic() + 0.05 + attempt * 0.007
            try:
                while time.monotonic() < stop:
                    assert folder.read("file") in (b"a" * 4_000_000, b"b" * 4_000_000)
            finally:
                writer.kill()  # as kill -9 does
        assert folder.read("file") in (b"a" * 4_000_000, b"b" * 4_000_000)


def test_a_small_file_costs_an_object_store_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    with object_store("bucket", log) as endpoint:
        for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "y", "ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        folder = Folder.at("s3://bucket/study?region=us-east-1")
        folder.write("small", b"x" * 1000)
        assert folder.read("small") == b"x" * 1000
        until(lambda: "GET /bucket/study/small" in log.read_text())
        assert folder.uri == "s3://bucket/study?region=us-east-1"
    assert re.findall(r'"(PUT|POST) /bucket/study', log.read_text()) == ["PUT"]
