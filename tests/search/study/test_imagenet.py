"""The shipped study on made-up images of ImageNet's shape: from a file of weights to a pruned and tested network."""

from pathlib import Path

import pytest
import torch

from search.study.reading import read_study
from tests.trainables.photos import write_folder, write_rows
from tests.trainables.trials import CPU, make_shared, outcome_of
from trainables.data import sources
from trainables.data.stream import Stream
from trainables.evaluate import evaluated, load_trial
from trainables.models import hub
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

SMALL = (
    *("data.size=64", "models=[resnet18]", "policies=[uniform]", "sparsities=[0.3]", "seeds=[0]", "calibration=16"),
    *("data.val_fraction=0.2", "finetune.epochs=1", "finetune.batch_size=16", "recalibrate=2", "resources.cpus=1"),
)


@pytest.mark.parametrize("name", ["folder", "parquet"])
def test_the_imagenet_study_streams_folders_and_parquet(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write = write_folder if name == "folder" else write_rows
    write(tmp_path / "data", {"train": 24, "test": 4}, classes=4)
    torch.save(hub.build("resnet18", 4, 3).state_dict(), tmp_path / "resnet18.pth")
    mine = (f"data.name={name}", f"data.path={tmp_path / 'data'}", f"weights={{resnet18: {tmp_path / 'resnet18.pth'}}}")
    study = read_study("imagenet", [*SMALL, *mine])
    (spec,) = study.trials()
    splits, storage = sources.load(study.data), Folder.at(str(tmp_path / "storage"))
    assert isinstance(splits.train.held, Stream)
    assert splits.train.held.shape == (20, 3, 64, 64)
    make_shared([spec], splits, storage)
    reports = list(run_trial(spec, splits, storage, storage / "trial", CPU))
    assert [report.epoch for report in reports] == [0, 1]
    outcome = outcome_of(storage / "trial")
    assert outcome.facts is not None
    assert outcome.facts.macs_kept == pytest.approx(0.7 * outcome.facts.macs_total, rel=0.02)
    test = sources.load_test(study.data)
    assert len(test) == 4
    assert 0 <= evaluated(load_trial(storage / "trial", outcome, CPU), test, splits, CPU).metric <= 1
