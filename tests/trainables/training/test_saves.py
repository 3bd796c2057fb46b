"""Short epochs are saved together, and a trial ends as if each of them had been saved."""

from pathlib import Path

import pytest

from tests.trainables.trials import (
    CPU,
    SPECS,
    WEIGHT,
    assert_identical,
    newest,
    outcome_of,
    run_until_killed,
    without_times,
)
from trainables.checkpoints.epochs import epoch_name
from trainables.data.splits import Splits
from trainables.outcome import best_of
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

LONG = 1e9  # seconds: no epoch but the first and the last is saved by itself
BUMPY = WEIGHT.model_copy(  # its best epoch is neither the first nor the last
    update={"finetune": Recipe(epochs=6, lr=0.3, schedule="constant", batch_size=64)}
)


def best_epoch(folder: Folder) -> int:
    metric = outcome_of(folder).spec.dense.data.task.metric
    best = best_of(outcome_of(folder).history, metric)
    assert best is not None
    return best.epoch


@SPECS
def test_reports_come_when_a_checkpoint_holds_them(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    folder = Folder.at(str(tmp_path))
    trial = run_trial(spec, splits, storage, folder, CPU, pause=LONG)
    assert next(trial).epoch == 0
    assert next(trial).epoch == 1
    assert epoch_name(3) in folder.folders()
    assert [report.epoch for report in trial] == [2, 3]


@pytest.mark.parametrize("spec", [WEIGHT, BUMPY], ids=["even", "bumpy"])
def test_the_best_epoch_is_kept_though_it_has_waited(
    spec: TrialSpec, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    each, together = (Folder.at(str(tmp_path / name)) for name in ("each", "together"))
    reports = list(run_trial(spec, splits, storage, each, CPU))
    assert without_times(list(run_trial(spec, splits, storage, together, CPU, pause=LONG))) == without_times(reports)
    assert spec is WEIGHT or 0 < best_epoch(each) < spec.finetune.epochs
    assert together.folders() == each.folders() == [epoch_name(best_epoch(each))]
    assert_identical(newest(together), newest(each))
    assert newest(together).record.keys() == newest(each).record.keys()
    assert len(newest(together).record["history"]) == best_epoch(each) + 1


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_a_killed_trial_goes_on_from_the_last_save(
    saves: int, splits: Splits, storage: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = (Folder.at(str(tmp_path / name)) for name in ("whole", "broken"))
    list(run_trial(BUMPY, splits, storage, whole, CPU))
    run_until_killed(run_trial(BUMPY, splits, storage, broken, CPU, pause=LONG), saves, monkeypatch)
    list(run_trial(BUMPY, splits, storage, broken, CPU, pause=LONG))
    assert without_times(outcome_of(broken).history) == without_times(outcome_of(whole).history)
    assert broken.folders() == whole.folders()
    assert_identical(newest(broken), newest(whole))
