"""A storage of two small studies, for tests of what their artifacts are needed for."""

import shutil
from pathlib import Path

import pytest

from search.results.folder import StudyFolder
from search.running import lease
from search.study.reading import read_study
from search.study.spec import StudySpec
from tests.search.in_process import run_in_process
from trainables.storage.folder import Folder

SETTINGS = ("width=0.25", "dense.epochs=1", "finetune.epochs=0", "data.max_train=200", "calibration=32")
BOTH = ("name=both", "policies=[uniform,rdp]", "sparsities=[0.5]", "seeds=[0,1]")
FIRST = ("name=first", "policies=[uniform]", "sparsities=[0.5]", "seeds=[0]")


def study_of(*settings: str) -> StudySpec:
    return read_study("digits", [*SETTINGS, *settings])


@pytest.fixture(scope="session")
def two_studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage of two studies: `both` starts from two networks and their profiles, `first` from one of them."""
    home = tmp_path_factory.mktemp("two")
    for settings in (BOTH, FIRST):
        run_in_process(home, study_of(*settings))
    folder = StudyFolder(Folder.at(str(home / "both")))
    for trial in folder.study.trials():
        folder.start_trial(trial)
    return home


@pytest.fixture
def home(two_studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may damage; leases count as gone after a second."""
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setattr(lease, "STALE", 1.0)
    shutil.copytree(two_studies, tmp_path / "runs")
    return tmp_path / "runs"
