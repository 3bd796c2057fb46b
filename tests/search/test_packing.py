"""What is sent to a cluster: the study and its code, after it was checked, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from search.packing import STUDY_FILE, check_for_cluster, environment, pack
from search.study_file import read_study
from tests.search.conftest import FEW


def test_package_holds_the_study_and_the_code_but_no_data(tmp_path: Path, own_model: str) -> None:
    study = read_study("digits", [*FEW, f"models=[small_cnn, '{own_model}']"], "packed")
    folder = tmp_path / "package"
    folder.mkdir()
    pack(study, folder)
    assert read_study(str(folder / STUDY_FILE)) == study
    packed = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "search/cli.py",
        "search/studies/digits.yaml",
        "trainables/trial.py",
        "trainables/models/cifar.py",
    } <= packed
    assert {path for path in packed if path.startswith("hc_")} == {
        "hc_net.py",
        "hc_blocks/__init__.py",
        "hc_blocks/inner/head.py",
    }
    assert {path.partition("/")[0] for path in packed} == {"search", "trainables", "hc_net.py", "hc_blocks", STUDY_FILE}
    assert {Path(path).suffix for path in packed} == {".py", ".yaml"}


def test_packed_code_is_taken_before_the_installed_one(tmp_path: Path) -> None:
    pack(read_study("digits"), tmp_path)
    where = "import search, trainables.tables; print(search.__file__, trainables.tables.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()
    assert all(Path(path).is_relative_to(tmp_path) for path in told)


def test_images_that_only_the_cluster_has_are_left_for_it_to_check(tmp_path: Path) -> None:
    absent = f"data={{name: folder, path: {tmp_path / 'absent'}}}"
    study = check_for_cluster("digits", "s3://bucket/studies", [absent, "models=[resnet50]"])
    assert study.data.path == str(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"^sampler must be a known name[^\n]*$"):
        check_for_cluster("digits", "s3://bucket/studies", [absent, "search.sampler=tpee"])


@pytest.mark.parametrize("name", ["fodler", "folder"])
def test_images_that_are_here_and_will_not_do_are_refused_here(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'folder'|must hold a folder for each class"):
        check_for_cluster("digits", "s3://bucket/studies", [f"data={{name: {name}, path: {tmp_path}}}"])


@pytest.mark.parametrize(
    ("uri", "sent"),
    [
        ("http://mlflow.example:5000", True),
        ("https://me@mlflow.example", True),
        ("https://me:secret@mlflow.example", False),
        ("sqlite:////home/me/mlflow.db", False),
        ("", False),
    ],
)
def test_only_a_tracking_address_without_a_password_is_sent(
    monkeypatch: pytest.MonkeyPatch, uri: str, sent: bool
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert environment() == ({"MLFLOW_TRACKING_URI": uri} if sent else {})
