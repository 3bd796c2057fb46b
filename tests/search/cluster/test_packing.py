"""What is sent to a cluster: the study and its code, after it was checked, and nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from search.cluster.packing import STUDY_FILE, check_for_cluster, environment, pack
from search.study.reading import read_study
from tests.search.conftest import FEW

ROOT = Path(__file__).parents[3]


def ours(folder: Path) -> set[str]:
    """Name the files of the project's packages in a folder."""
    files = (path for name in ("search", "trainables") for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in files if "__pycache__" not in path.parts}


def run_python(code: str, cwd: Path, path: Path | None = None) -> list[str]:
    """Run code in a process of its own, with `path` before what is installed; return the lines that it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_package_holds_the_study_and_the_code_but_no_data(tmp_path: Path, own_model: str) -> None:
    study = read_study("digits", [*FEW, f"models=[small_cnn, '{own_model}']"], "packed")
    folder = tmp_path / "package"
    folder.mkdir()
    pack(study, folder)
    assert read_study(str(folder / STUDY_FILE)) == study
    packed = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert ours(folder) == ours(ROOT)
    assert {"search/report/templates/page.html", "search/studies/digits.yaml", "search/clusters/aws.yaml"} <= packed
    assert {path for path in packed if path.startswith("hc_")} == {
        "hc_net.py",
        "hc_blocks/__init__.py",
        "hc_blocks/inner/head.py",
    }
    release = f"howcompact-{version('howcompact')}.dist-info"
    tops = {path.partition("/")[0] for path in packed}
    assert tops == {"search", "trainables", "hc_net.py", "hc_blocks", STUDY_FILE, release}


WHERE = """
import search, trainables.lookup
from importlib.metadata import distribution
from pathlib import Path
installed = distribution("howcompact")
for place in (search.__file__, trainables.lookup.__file__, installed.locate_file("")):
    print(Path(place).absolute())
print(installed.version)
"""


def test_packed_code_and_its_version_are_taken_before_what_is_installed(tmp_path: Path) -> None:
    pack(read_study("digits"), tmp_path)
    *places, release = run_python(WHERE, tmp_path)
    assert all(Path(place).is_relative_to(tmp_path) for place in places)
    assert release == version("howcompact")


def test_a_machine_that_holds_only_the_wheel_packs_the_same_files(tmp_path: Path) -> None:
    source, site, folder = (tmp_path / name for name in ("source", "site", "folder"))
    source.mkdir()
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("search", "trainables"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    *_, wheel = run_python(build, source)
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(site)
    assert ours(site) == ours(ROOT)
    imports = (
        "import search.cluster.packing as p; from pathlib import Path; from search.study.reading import read_study"
    )
    code = f"p.pack(read_study('digits'), Path({str(folder)!r})); print(p.__file__)"
    (place,) = run_python(f"{imports}; {code}", tmp_path, site)
    assert Path(place) == site / "search" / "cluster" / "packing.py"
    assert ours(folder) == ours(ROOT)


def test_images_that_only_the_cluster_has_are_left_for_it_to_check(tmp_path: Path) -> None:
    absent = f"data={{name: folder, path: {tmp_path / 'absent'}}}"
    study = check_for_cluster("digits", "s3://bucket/studies", [absent, "models=[resnet50]"])
    assert study.data.path == str(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"^sampler must be a known name[^\n]*$"):
        check_for_cluster("digits", "s3://bucket/studies", [absent, "search.sampler=tpee"])


def test_weights_that_only_the_cluster_has_are_left_for_it_to_check(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pth"
    study = check_for_cluster("digits", "s3://bucket/studies", [f"weights.small_cnn={absent}"])
    assert study.weights == {"small_cnn": str(absent)}
    with pytest.raises(ValueError, match=r"^weights must be absolute paths, [^\n]* but got 'absent\.pth'; correct it$"):
        check_for_cluster("digits", "s3://bucket/studies", ["weights.small_cnn=absent.pth"])


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
