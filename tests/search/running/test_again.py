"""What a user deletes is made again by the study's command, and nothing else is."""

import shutil
from pathlib import Path

import pytest

from search.results.shared_artifacts import shared_artifacts
from search.running.dry_run import dry_run
from search.study.reading import read_study
from tests.search.conftest import FEW, SMALL, howcompact, run_small
from tests.search.in_process import run_in_process

SETTINGS = (*SMALL, *FEW, "sparsities=[0.5,0.9]", "policies=[uniform,rdp]")


def trained(path: Path) -> set[str]:
    return {folder.name for folder in (path / "artifacts" / "dense").iterdir() if folder.is_dir()}


def test_a_deleted_dense_network_is_trained_again_and_ended_trials_stay(tmp_path: Path) -> None:
    storage = tmp_path / "howcompact-runs"
    folder = run_in_process(storage, study := read_study("digits", SETTINGS))
    for trial in study.trials():
        folder.start_trial(trial)
    folder.write_table()
    outcomes = {path: path.read_bytes() for path in storage.glob("digits/trials/*/outcome.json")}
    assert len(outcomes) == 4
    (dense, profile) = shared_artifacts(study, folder.folder.parent)
    assert howcompact("status", folder.folder.uri, cwd=tmp_path).stdout.count(dense.path) == 1
    shutil.rmtree(storage / dense.path)
    assert dry_run(study, folder.folder.parent, pytest.fail).dense == 1

    again = run_small(tmp_path, settings=SETTINGS)
    assert (again.summary["trials"]["new"], again.summary["trials"]["done"]) == (0, 4)
    message = "the storage lacks what ended trials started from; this run makes it again: dense of small_cnn, seed 0\n"
    assert message in again.stderr
    assert {path: path.read_bytes() for path in storage.glob("digits/trials/*/outcome.json")} == outcomes
    now = shared_artifacts(study, folder.folder.parent)
    assert [artifact.ready for artifact in now] == [True, True]
    assert now[0].path != dense.path
    assert now[1] == profile
    assert trained(storage) == {Path(now[0].path).name}

    (one, *_) = study.trials()  # to run one trial again
    shutil.rmtree(storage / "digits" / "trials" / one.key())
    (storage / "digits" / "results.parquet").unlink()
    assert dry_run(study, folder.folder.parent, pytest.fail).trials == 1
    shutil.rmtree(storage / "digits")  # to run all trials again
    plan = dry_run(study, folder.folder.parent, pytest.fail)
    assert (plan.trials, plan.dense, plan.dense_reused) == (4, 0, 1)
    assert howcompact("clean", str(storage), "--yes", cwd=tmp_path).returncode == 0  # to do everything again
    plan = dry_run(study, folder.folder.parent, pytest.fail)
    assert (plan.trials, plan.dense, plan.dense_reused) == (4, 1, 0)
