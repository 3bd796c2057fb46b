"""The numbers of int8 files are derived again where accuracies are measured again."""

import shutil
from pathlib import Path

import pytest

import search
from search.cli.status_lines import print_status
from search.results.folder import StudyFolder
from search.results.rows import TABLE
from search.results.status import status_of
from tests.search.conftest import run_trials
from tests.search.verification.test_verify import change_outcome
from tests.trainables.trials import WEIGHT
from trainables.outcome import Outcome


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a trial that quantises, with its table."""
    spec = WEIGHT.model_copy(update={"quantise": "int8", "calibration": 64, "sparsity": 0.4})
    folder = run_trials(tmp_path_factory.mktemp("quantised"), [spec])
    folder.write_table()
    return Path(folder.folder.uri)


@pytest.fixture
def copy(quantised: Path, tmp_path: Path) -> Path:
    shutil.copytree(quantised.parent, tmp_path / "storage")
    return tmp_path / "storage" / quantised.name


def test_an_untouched_study_agrees_with_itself(quantised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verified = search.verify(str(quantised), sample=1)
    assert (verified.problems, verified.measured) == ([], 1)
    print_status(status_of(StudyFolder.open(str(quantised))))
    (row,) = StudyFolder.open(str(quantised)).rows()
    assert row.quantised_accuracy is not None
    assert f", in int8 {100 * row.quantised_accuracy:.1f} %, at sparsity 0.4" in capsys.readouterr().out


def test_numbers_that_the_file_does_not_have_are_named(copy: Path) -> None:
    (file,) = copy.glob("trials/*/outcome.json")
    found = Outcome.from_file(file.read_bytes()).quantised
    assert found is not None
    wrong = found.model_copy(update={"quantised_accuracy": 0.99, "quantised_bytes": 2 * found.quantised_bytes})
    key = change_outcome(copy, quantised=wrong)
    (copy / TABLE).unlink()
    StudyFolder.open(str(copy)).write_table()
    assert search.verify(str(copy), sample=1).problems == [
        f"trial {key} reports accuracy 0.9900 of its int8 file, but the file has {found.quantised_accuracy:.4f}",
        f"trial {key} reports quantised_bytes {wrong.quantised_bytes:,}, but the file has {found.quantised_bytes:,}",
    ]
    change_outcome(copy, quantised=None)
    (problem,) = (each for each in search.verify(str(copy), sample=0).problems if "int8" in each)
    assert problem == f"trial {key}: its outcome must have an int8 file's numbers exactly if its settings say quantise"
