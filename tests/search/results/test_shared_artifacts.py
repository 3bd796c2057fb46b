"""What a study's trials start from: the list agrees with what the storage really holds."""

import shutil
from pathlib import Path

import pytest

from search.results.folder import StudyFolder
from search.results.shared_artifacts import SharedArtifact, missing, shared_artifacts
from search.results.status import status_of
from search.running.dry_run import dry_run
from search.running.identity import identified
from search.study.reading import read_study
from tests.search.conftest import howcompact
from tests.search.in_process import run_in_process
from tests.search.running.test_identity import write_digits
from trainables.storage.folder import Folder

SETTINGS = ("width=0.25", "dense.epochs=1", "finetune.epochs=0", "data.max_train=200", "calibration=32", "seeds=[0,1]")
TRIALS = ("policies=[uniform,rdp]", "sparsities=[0.5]")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return run_in_process(tmp_path_factory.mktemp("storage"), read_study("digits", [*SETTINGS, *TRIALS]))


@pytest.fixture
def folder(ended: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy that a test may damage."""
    shutil.copytree(ended.folder.parent.uri, tmp_path / "runs")
    return StudyFolder.open(str(tmp_path / "runs" / "digits"))


def listed(folder: StudyFolder) -> list[SharedArtifact]:
    return shared_artifacts(folder.study, folder.folder.parent)


def test_each_artifact_is_listed_once_with_its_folder(folder: StudyFolder) -> None:
    found, storage = listed(folder), Path(folder.folder.parent.uri)
    assert [(artifact.kind, artifact.name) for artifact in found] == [
        ("dense", "small_cnn x 0.25, seed 0"),
        ("dense", "small_cnn x 0.25, seed 1"),
        ("profile", "small_cnn x 0.25, seed 0: weights by magnitude"),
        ("profile", "small_cnn x 0.25, seed 1: weights by magnitude"),
    ]
    kept = {str(path.relative_to(storage)) for path in storage.glob("artifacts/*/*") if path.is_dir()}
    assert {artifact.path for artifact in found} == kept
    assert all((storage / artifact.path / "manifest.json").is_file() for artifact in found)
    assert all(Path(artifact.path).name.startswith(f"{artifact.artifact}-") for artifact in found)
    assert missing(found) == []


def test_what_is_deleted_is_missing_in_status_and_dry_run(folder: StudyFolder) -> None:
    storage = Path(folder.folder.parent.uri)
    first, second, *_ = listed(folder)
    shutil.rmtree(storage / first.path)
    (storage / second.path / "manifest.json").unlink()
    found = listed(folder)
    assert [artifact.ready for artifact in found] == [False, False, True, True]
    assert [artifact.path for artifact in found[:2]] == ["", ""]
    assert status_of(folder).artifacts == found
    assert dry_run(folder.study, folder.folder.parent, lambda _: None).artifacts == found
    done = howcompact("status", folder.folder.uri, cwd=storage)
    assert "what the trials start from (2 in the storage, 2 missing):" in done.stdout
    assert f"  dense   {first.name}                        missing, key {first.artifact}\n" in done.stdout
    assert found[2].path in done.stdout


def test_teachers_probes_gates_and_scoring_networks_are_listed(tmp_path: Path) -> None:
    settings = ["granularity=channel", "criteria=[l1]", "policies=[gates-joint]", "seeds=[0]", "sparsities=[0.5]"]
    curriculum = "curricula=[{name: easy-first, network: resnet20, balanced: false}]"
    study = read_study("digits", [*settings, curriculum])
    found = shared_artifacts(study, Folder.at(str(tmp_path)))
    assert {(artifact.kind, artifact.name) for artifact in found} == {
        ("dense", "small_cnn, seed 0"),
        ("dense", "resnet20, seed 0"),
        ("gates", "small_cnn, seed 0: sparsity 0.5 of params"),
    }
    blocks = read_study(
        "digits",
        ["models=[resnet20]", "granularity=block", "criteria=[probe]", "seeds=[0]", "sparsities=[0.3]", "probe=500"],
    )
    assert ("probe", "resnet20, seed 0: 500 samples") in {
        (artifact.kind, artifact.name) for artifact in shared_artifacts(blocks, Folder.at(str(tmp_path)))
    }


def test_checksums_of_the_users_files_are_listed(tmp_path: Path) -> None:
    write_digits(tmp_path / "images")
    storage = Folder.at(str(tmp_path / "runs"))
    study = read_study("digits", ["data.name=folder", f"data.path={tmp_path / 'images'}"])
    study = identified(study, storage, lambda _: None)
    data = shared_artifacts(study, storage)[0]
    assert (data.kind, data.name) == ("data", f"checksums of {tmp_path / 'images'}")
    assert (data.artifact, data.ready) == (study.data.content, True)
    assert Path(storage.uri, data.path).is_file()
