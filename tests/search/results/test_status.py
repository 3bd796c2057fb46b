"""How far a study is, from records alone: the tensors of unfinished trials are never read."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.cli.status_lines import print_status
from search.results.dense_networks import networks_of
from search.results.durations import about
from search.results.folder import StudyFolder
from search.results.status import status_of, unfinished_message
from search.study.spec import StudySpec
from tests.trainables.trials import cut_short, flip_a_byte
from trainables.checkpoints import artifact_store, checkpoint
from trainables.checkpoints.epochs import epoch_name
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import write_outcome

EPOCHS = 3


@pytest.fixture
def study() -> StudySpec:
    return StudySpec.model_validate({"name": "s", "policies": ["uniform"], "sparsities": [0.5], "seeds": [0]})


@pytest.fixture
def trial(study: StudySpec) -> TrialSpec:
    (spec,) = study.trials()
    return spec


@pytest.fixture
def unfinished(study: StudySpec, trial: TrialSpec, tmp_path: Path) -> StudyFolder:
    """A study whose only trial has two checkpoints of 4 MB, after epochs 1 and 2."""
    folder = StudyFolder(Folder.at(str(tmp_path / "s")))
    folder.write_study(study)
    folder.start_trial(trial)
    network = {"network": {"weight": torch.randn(1 << 20)}}
    for epoch in range(1, EPOCHS):
        history = [EpochReport(epoch=n, val_accuracy=0.5, val_loss=1.0, seconds=1.0) for n in range(epoch + 1)]
        record = {"history": [report.model_dump() for report in history], "needed_to_go_on": ["network"]}
        checkpoint.save(folder.trial(trial.key()) / epoch_name(epoch), network, record)
    return folder


def newest(folder: StudyFolder, trial: TrialSpec) -> Path:
    return Path((folder.trial(trial.key()) / epoch_name(EPOCHS - 1)).uri)


@pytest.mark.parametrize("damage", [cut_short, flip_a_byte, Path.unlink])
def test_status_does_not_depend_on_tensors(
    unfinished: StudyFolder, trial: TrialSpec, damage: Callable[[Path], None]
) -> None:
    before = status_of(unfinished)
    assert (before.trials["unfinished"], before.epochs) == (1, EPOCHS)
    damage(newest(unfinished, trial) / "network.safetensors")
    assert status_of(unfinished) == before
    assert len(unfinished.unended(trial, "stopped", "").history) == EPOCHS


def test_status_reads_kilobytes_of_a_checkpoint_of_megabytes(
    unfinished: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sizes = Folder.read, dict[str, int]()

    def counted(self: Folder, name: str) -> bytes:
        content = read(self, name)
        sizes[name] = sizes.get(name, 0) + len(content)
        return content

    monkeypatch.setattr(Folder, "read", counted)
    assert status_of(unfinished).epochs == EPOCHS
    assert sizes.keys() == {"study.json", "spec.json", "manifest.json", "record.json"}
    assert sum(sizes.values()) < 10_000


@pytest.mark.parametrize(("name", "damage"), [("record.json", flip_a_byte), ("manifest.json", cut_short)])
def test_a_damaged_record_counts_as_never_written(
    unfinished: StudyFolder, trial: TrialSpec, name: str, damage: Callable[[Path], None]
) -> None:
    damage(newest(unfinished, trial) / name)
    assert status_of(unfinished).epochs == EPOCHS - 1


def test_an_epoch_that_training_cannot_resume_from_counts_as_never_written(
    unfinished: StudyFolder, trial: TrialSpec
) -> None:
    folder = unfinished.trial(trial.key()) / epoch_name(EPOCHS)
    checkpoint.save(folder, {"network": {}}, {"history": [], "needed_to_go_on": ["network", "momenta"]})
    assert status_of(unfinished).epochs == EPOCHS


def test_status_needs_no_torch() -> None:
    code = "import sys, search.results.status; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_the_time_of_the_dense_networks_is_known_before_that_of_the_trials(
    unfinished: StudyFolder, study: StudySpec, trial: TrialSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    def last_line() -> str:
        print_status(status_of(unfinished))
        return next(line for line in capsys.readouterr().out.splitlines() if "of trials" in line)

    assert last_line() == "3 epochs of trials; time left is unknown"
    (dense,) = networks_of(study)
    history = [EpochReport(epoch=n, val_accuracy=0.5, val_loss=1.0, seconds=7.0).model_dump() for n in range(3)]
    epoch = artifact_store.unfinished(unfinished.folder.parent, dense.key()) / epoch_name(2)
    checkpoint.save(epoch, {"network": {}}, {"history": history, "needed_to_go_on": ["network"]})
    seconds = 7.0 * (dense.recipe.epochs - 2)
    assert status_of(unfinished).dense_seconds_left == seconds
    assert last_line() == (
        f"3 epochs of trials; the dense networks need {about(seconds)}; the time of the trials is unknown"
    )
    write_outcome(unfinished.trial(trial.key()), unfinished.unended(trial, "done", ""))
    assert last_line() == f"3 epochs of trials; the rest needs {about(seconds)}"


def test_an_unfinished_study_says_so_until_its_last_trial_has_ended(unfinished: StudyFolder, trial: TrialSpec) -> None:
    assert unfinished_message(unfinished) == (
        "study s is unfinished: 0 of 1 trial has ended; `howcompact run` continues it"
    )
    write_outcome(unfinished.trial(trial.key()), unfinished.unended(trial, "done", ""))
    assert unfinished_message(unfinished) == ""
    Path(unfinished.folder.uri, "study.json").write_text("{")
    assert unfinished_message(unfinished) == ""
