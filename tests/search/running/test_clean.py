"""`clean` deletes what no study of a storage needs, and nothing else: on real artifacts, local and remote."""

import json
import shutil
from pathlib import Path

import pytest
from pyarrow import fs

from search.results.folder import StudyFolder
from search.results.shared_artifacts import shared_artifacts
from search.running.clean import Cleaned, clean
from tests.search.conftest import howcompact
from tests.search.object_store import object_store
from tests.search.running.conftest import BOTH, FIRST, study_of
from tests.trainables.storage.test_folder import Elsewhere
from tests.trainables.trials import flip_a_byte
from trainables.checkpoints import artifact_store, manifest
from trainables.storage.folder import Folder


def files_in(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def cleaned(home: Path, delete: bool = True) -> Cleaned:
    return clean(Folder.at(str(home)), delete, pytest.fail)


def names(result: Cleaned) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in result.unneeded]


def folder_of(home: Path, study: str) -> StudyFolder:
    return StudyFolder(Folder.at(str(home / study)))


def test_what_studies_need_stays(home: Path) -> None:
    before = files_in(home)
    result = cleaned(home)
    assert (result.studies, result.needed, result.unneeded, result.bytes) == (["both", "first"], 4, [], 0)
    assert files_in(home) == before


@pytest.mark.parametrize("kind", ["local", "elsewhere"])
def test_what_only_a_deleted_study_needed_is_shown_and_then_deleted(home: Path, kind: str) -> None:
    storage = Folder.at(str(home)) if kind == "local" else Elsewhere(str(home.parent), home.name)
    shutil.rmtree(home / "both")
    before = files_in(home)
    shown = clean(storage, False, pytest.fail)
    assert sorted(names(shown)) == [  # clean lists them by kind and key
        ("dense, small_cnn x 0.25, seed 1", "no study needs it"),
        ("profile, small_cnn x 0.25, seed 0: weights by magnitude", "no study needs it"),
        ("profile, small_cnn x 0.25, seed 1: weights by magnitude", "no study needs it"),
    ]
    for each in shown.unneeded:
        pointer = home / f"{each.path.rpartition('-')[0]}.json"
        assert each.bytes == sum(path.stat().st_size for path in [pointer, *(home / each.path).iterdir()])
    assert shown.bytes == sum(each.bytes for each in shown.unneeded)
    assert files_in(home) == before

    first = folder_of(home, "first")
    needed = shared_artifacts(first.study, first.folder.parent)
    deleted = clean(storage, True, pytest.fail)
    assert deleted == shown.model_copy(update={"deleted": True})
    (network,) = needed
    kept = {path: content for path, content in before.items() if path.startswith(("first/", network.path))}
    assert files_in(home) == kept | {path: before[path] for path in [f"artifacts/dense/{network.artifact}.json"]}
    assert shared_artifacts(first.study, first.folder.parent) == needed
    assert artifact_store.is_sound(first.folder.parent, "dense", network.artifact)
    assert clean(storage, True, pytest.fail).unneeded == []


def test_trials_of_earlier_settings_keep_what_they_start_from(home: Path) -> None:
    shutil.rmtree(home / "first")
    folder_of(home, "both").write_study(study_of(*BOTH[:-1], "seeds=[7]"))
    before = files_in(home)
    assert cleaned(home).unneeded == []
    (one, *_, last) = folder_of(home, "both").keys()
    flip_a_byte(home / "both" / "trials" / one / "spec.json")  # its outcome has the same settings
    (home / "both" / "trials" / last / "outcome.json").unlink()  # it is unfinished
    assert cleaned(home).unneeded == []
    assert {name for name in files_in(home) if name.startswith("artifacts")} == {
        name for name in before if name.startswith("artifacts")
    }


def test_a_study_that_has_not_run_keeps_what_its_trials_will_start_from(home: Path) -> None:
    shutil.rmtree(home / "both")
    shutil.rmtree(home / "first")
    planned = study_of(*BOTH, "recoveries=[distill]", "finetune.epochs=1")
    folder_of(home, "planned").write_study(planned.model_copy(update={"name": "planned"}))
    assert cleaned(home).unneeded == []
    curricula = study_of(
        *FIRST[1:], "finetune.epochs=1", "models=[resnet20]", "curricula=[{name: sample-easy, network: small_cnn}]"
    )
    folder_of(home, "planned").write_study(curricula)
    assert "dense, small_cnn x 0.25, seed 0" not in {name for name, _ in names(cleaned(home, delete=False))}


def test_what_killed_writers_left_is_deleted_and_unfinished_work_stays(home: Path) -> None:
    artifacts = home / "artifacts"
    first = folder_of(home, "first")
    key = first.study.trials()[0].dense.key()
    half = artifacts / "dense" / f"{key}-01234567"
    half.mkdir()
    (half / "network.safetensors").write_bytes(b"half")
    (artifacts / "dense" / f".{key}.json.{'0' * 32}").write_bytes(b"{")
    running = study_of(*FIRST[:-1], "seeds=[5]").trials()[0].dense.key()
    for name in (key, running, "f" * 16, f"gates-{'e' * 16}"):
        (artifacts / "unfinished" / name / "epoch-00001").mkdir(parents=True)
        (artifacts / "unfinished" / name / "epoch-00001" / "record.json").write_bytes(b"12345")
    (artifacts / "data").mkdir()
    (artifacts / "data" / f"{'d' * 16}.parquet").write_bytes(b"123")
    theirs = [artifacts / "dense" / "notes.txt", artifacts / "unfinished" / "mine" / "x", artifacts / "other" / "x"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    folder_of(home, "more").write_study(study_of(*FIRST[:-1], "seeds=[5]"))
    before = files_in(home)
    result = cleaned(home)
    assert {(each.path, each.reason, each.bytes) for each in result.unneeded} == {
        (f"artifacts/dense/{half.name}", "left by a writer that was killed", 4),
        (f"artifacts/dense/.{key}.json.{'0' * 32}", "left by a writer that was killed", 1),
        (f"artifacts/unfinished/{key}", "its training has ended", 5),
        (f"artifacts/unfinished/{'f' * 16}", "no study needs it", 5),
        (f"artifacts/unfinished/gates-{'e' * 16}", "no study needs it", 5),
        (f"artifacts/data/{'d' * 16}.parquet", "no study needs it", 3),
    }
    gone = before.keys() - files_in(home).keys()
    assert gone == {name for name in before for each in result.unneeded if name.startswith(each.path)}
    assert all(path.exists() for path in theirs)


def test_a_pointer_that_names_the_folder_of_another_artifact_does_not_delete_it(home: Path) -> None:
    (network,) = shared_artifacts(folder_of(home, "first").study, Folder.at(str(home)))
    target = {"folder": Path(network.path).name}
    (home / "artifacts" / "dense" / f"{'a' * 16}.json").write_text(json.dumps(target))
    (home / "artifacts" / "dense" / f"{'b' * 16}.json").write_text(json.dumps({"folder": "../../first"}))
    outside = home.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    (home / "artifacts" / "dense" / f"{'c' * 16}-01234567").symlink_to(outside)
    before = files_in(home)
    assert len(cleaned(home).unneeded) == 3
    assert before.keys() - files_in(home).keys() <= {f"artifacts/dense/{key * 16}.json" for key in "ab"} | {
        f"artifacts/dense/{'c' * 16}-01234567/file"
    }
    assert artifact_store.is_sound(Folder.at(str(home)), "dense", network.artifact)
    assert (outside / "file").read_text() == "theirs"


def test_the_command_says_what_it_deletes(home: Path) -> None:
    shutil.rmtree(home / "both")
    shown = howcompact("clean", str(home), cwd=home)
    assert shown.returncode == 0, shown.stderr
    assert (
        "dense, small_cnn x 0.25, seed 1                          no study needs it: artifacts/dense/" in shown.stdout
    )
    assert "to delete: 3 artifacts, 0." in shown.stdout
    assert shown.stdout.endswith("what 1 study needs stays\nnothing was deleted; --yes deletes them\n")
    done = howcompact("clean", str(home), "--yes", cwd=home)
    assert "deleted: 3 artifacts, 0." in done.stdout
    assert howcompact("clean", str(home), "--yes", cwd=home).stdout == "nothing to delete; what 1 study needs stays\n"
    (home / "first" / "study.json").write_text("{")
    refused = howcompact("clean", str(home), "--yes", cwd=home)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: clean must know what each study needs, but study first cannot be read: ")


def test_an_object_store_is_cleaned(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store("bucket") as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }.items():
            monkeypatch.setenv(name, value)
        shutil.rmtree(home / "both")
        fs.copy_files(str(home), "s3://bucket/runs")
        storage = Folder.at("s3://bucket/runs")
        shown = clean(storage, False, pytest.fail)
        assert shown.unneeded == cleaned(home, delete=False).unneeded
        assert clean(storage, True, pytest.fail).deleted
        assert clean(storage, True, pytest.fail).unneeded == []
        (network,) = shared_artifacts(folder_of(home, "first").study, storage)
        assert network.ready
        assert manifest.read_files(storage / "artifacts" / "dense" / Path(network.path).name)
