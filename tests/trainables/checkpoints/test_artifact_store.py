from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainables.trials import cut_short, flip_a_byte
from trainables.checkpoints import artifact_store, manifest
from trainables.storage.folder import Folder


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path))


def test_artifact_is_made_once_and_found_again(storage: Folder) -> None:
    made = []

    def make(folder: Folder) -> None:
        manifest.write_files(folder, {"content": b"first"})
        made.append(folder)

    assert artifact_store.find(storage, "dense", "key") is None
    first = artifact_store.find_or_make(storage, "dense", "key", make)
    assert (
        artifact_store.find_or_make(storage, "dense", "key", make)
        == first
        == artifact_store.find(storage, "dense", "key")
    )
    assert first.read("content") == b"first"
    assert made == [first]
    assert artifact_store.find(storage, "profile", "key") is None
    assert artifact_store.find(storage, "dense", "other") is None


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short, Path.unlink])
@pytest.mark.parametrize("file", ["key.json", "made/manifest.json", "made/content"])
def test_artifact_that_was_damaged_is_made_anew_and_its_remains_are_gone(
    storage: Folder, damage: Callable[[Path], None], file: str
) -> None:
    def make(folder: Folder) -> None:
        manifest.write_files(folder, {"content": b"whole" * 100})

    made = artifact_store.find_or_make(storage, "dense", "key", make)
    assert artifact_store.is_sound(storage, "dense", "key")
    shelf = Path(storage.uri) / "artifacts" / "dense"
    damage(shelf / file.replace("made", made.name))
    assert not artifact_store.is_sound(storage, "dense", "key")
    again = artifact_store.find_or_make(storage, "dense", "key", make)
    assert again != made
    assert artifact_store.is_sound(storage, "dense", "key")
    assert again.read("content") == b"whole" * 100
    if file != "key.json":  # nobody knows any more what it named
        assert sorted(path.name for path in shelf.iterdir()) == sorted([again.name, "key.json"])


def test_maker_that_fails_leaves_nothing_to_be_found(storage: Folder) -> None:
    def fail(folder: Folder) -> None:
        folder.write("content", b"half")
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        artifact_store.find_or_make(storage, "dense", "key", fail)
    assert artifact_store.find(storage, "dense", "key") is None
    again = artifact_store.find_or_make(storage, "dense", "key", lambda folder: folder.write("content", b"whole"))
    assert again.read("content") == b"whole"


def test_makers_that_race_each_leave_a_whole_result(storage: Folder) -> None:
    def slow(folder: Folder) -> None:
        folder.write("one", b"slow")
        fast = artifact_store.find_or_make(storage, "dense", "key", lambda other: write_both(other, b"fast"))
        assert (fast.read("one"), fast.read("two")) == (b"fast", b"fast")
        folder.write("two", b"slow")

    def write_both(folder: Folder, content: bytes) -> None:
        folder.write("one", content)
        folder.write("two", content)

    artifact_store.find_or_make(storage, "dense", "key", slow)
    found = artifact_store.find(storage, "dense", "key")
    assert found is not None
    assert found.read("one") == found.read("two")


def test_storage_can_be_moved(tmp_path: Path) -> None:
    artifact_store.find_or_make(
        Folder.at(str(tmp_path / "old")), "dense", "key", lambda folder: folder.write("x", b"y")
    )
    (tmp_path / "old").rename(tmp_path / "new")
    found = artifact_store.find(Folder.at(str(tmp_path / "new")), "dense", "key")
    assert found is not None
    assert found.read("x") == b"y"
