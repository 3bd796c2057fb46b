"""`best` chooses by the accuracy of int8 files, and writes and verifies one."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import search
from search.cli.best_tables import print_network
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.retrieval.copying import Retrieved
from tests.search.conftest import howcompact, run_trials
from tests.trainables.trials import CHANNEL, CPU, DATA, WEIGHT
from trainables.checkpoints import manifest
from trainables.data import sources
from trainables.evaluate import load_trial
from trainables.exports.export import PACKAGES
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.trial.quantisation import write_int8

INT8 = {"quantise": "int8", "sparsity": 0.4, "calibration": 64}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study folder of two trials that quantise, and of one that does not."""
    quantised = [spec.model_copy(update=INT8) for spec in (WEIGHT, CHANNEL)]
    return run_trials(tmp_path_factory.mktemp("quantised"), [*quantised, WEIGHT.model_copy(update={"sparsity": 0.4})])


@pytest.fixture(scope="module")
def taken(study: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Retrieved:
    out = tmp_path_factory.mktemp("home") / "best"
    return search.best(study.folder.uri, metric="quantised_accuracy", out=str(out), export=["int8", "onnx"])


def row_of(study: StudyFolder, key: str) -> TrialRow:
    (row,) = (row for row in study.rows() if row.trial == key)
    return row


def test_the_file_is_that_of_the_trial(study: StudyFolder, taken: Retrieved, tmp_path: Path) -> None:
    row, outcome = row_of(study, taken.trial), study.outcome(taken.trial)
    assert row.quantised_accuracy == max(each.quantised_accuracy for each in study.rows() if each.quantised_accuracy)
    assert outcome is not None
    file = Path(taken.checkpoint) / "network.int8.onnx"
    splits = sources.load(DATA)
    again = write_int8(load_trial(study.trial(taken.trial), outcome, CPU), splits, 64, tmp_path)
    assert file.read_bytes() == again.int8.read_bytes()
    assert (taken.quantised_bytes, taken.exported_bytes) == (row.quantised_bytes, row.exported_bytes)
    assert taken.quantised_bytes == file.stat().st_size
    images, labels = residents(splits, CPU)[1].whole()
    (logits,) = onnxruntime.InferenceSession(file).run(None, {"images": images.numpy()})
    right = np.mean(logits.argmax(1) == labels.numpy())
    assert taken.verified_quantised_accuracy == taken.reported_quantised_accuracy == row.quantised_accuracy == right


def test_the_folder_is_complete_and_the_command_says_what_the_file_does(
    study: StudyFolder, taken: Retrieved, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["network.int8.onnx", "network.onnx"]
    assert taken.exports == [os.path.join(taken.checkpoint, name) for name in names]
    files = {"network.safetensors", "record.json", *names}
    assert set(manifest.read_files(Folder.at(taken.checkpoint))) == files
    print_network(taken)
    printed = capsys.readouterr().out
    assert "int8 file: validation accuracy reported 0." in printed
    assert f"{taken.quantised_bytes:,} bytes (float32 {taken.exported_bytes:,})" in printed
    home = Path(taken.checkpoint).parent
    where = ("--where", "quantised_accuracy>=0", "granularity==weight")
    command = ("best", study.folder.uri, *where, "--export", "int8", "--out", "best")  # replaces the folder
    done = howcompact(*command, "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verified_quantised_accuracy"] is not None


def test_a_trial_that_did_not_quantise_gets_a_file_too(study: StudyFolder, tmp_path: Path) -> None:
    (plain,) = (row for row in study.rows() if row.quantised_accuracy is None)
    rival = next(row for row in study.rows() if row.granularity == "weight" and row.quantised_accuracy is not None)
    where = ["granularity==weight", f"seconds=={plain.seconds}"]
    found = search.best(study.folder.uri, where=where, out=str(tmp_path / "best"), export=["int8"])
    assert found.trial == plain.trial
    assert found.reported_quantised_accuracy is None
    assert found.verified_quantised_accuracy is not None
    assert found.quantised_bytes == rival.quantised_bytes
    with pytest.raises(ValueError, match="none of 3 does"):
        search.best(study.folder.uri, where=[*where, "quantised_accuracy>=0"], out=str(tmp_path / "none"))


def test_a_front_has_a_file_for_each_network(study: StudyFolder, tmp_path: Path) -> None:
    found = search.front(study.folder.uri, out=str(tmp_path / "front"), export=["int8"])
    for network in found.networks:
        assert Path(network.exports[0]).stat().st_size == network.quantised_bytes


def test_missing_packages_are_told_before_anything_is_copied(
    study: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGES, "int8", ("onnx_of_tomorrow",))
    with pytest.raises(ValueError, match=r"export 'int8' must find onnx_of_tomorrow, but .*\[export\]"):
        search.best(study.folder.uri, out=str(tmp_path / "best"), export=["int8"])
    with pytest.raises(ValueError, match="export must be a known name, but got 'in8'; did you mean 'int8'"):
        search.best(study.folder.uri, out=str(tmp_path / "best"), export=["in8"])
    assert not list(tmp_path.iterdir())
