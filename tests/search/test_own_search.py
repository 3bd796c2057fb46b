"""A search by a sampler and a scheduler of the user's own: run, killed, continued, changed, shown in the catalog."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.results.folder import StudyFolder
from tests.search.conftest import installed
from tests.search.drivers import kill_when, start
from tests.search.searching.test_searcher import studies_in
from tests.search.waiting import LIMIT
from trainables.storage.folder import Folder

CODE = '''
from optuna.samplers import RandomSampler
from ray.tune.schedulers import FIFOScheduler, TrialScheduler


class Low(RandomSampler):
    """Draws densities from the lower half of their range."""

    def sample_independent(self, study, trial, name, distribution):
        value = super().sample_independent(study, trial, name, distribution)
        return distribution.low + (value - distribution.low) / 2


def low(seed, trials):
    return Low(seed)


class EveryOther(FIFOScheduler):
    """Stops every second trial of a search after its first epoch of training."""

    def __init__(self, metric):
        super().__init__()
        self.seen, self.value = {}, metric

    def on_trial_add(self, tune_controller, trial):
        self.seen[trial.trial_id] = len(self.seen)

    def on_trial_result(self, tune_controller, trial, result):
        late = result["training_iteration"] > 1 and self.seen[trial.trial_id] % 2
        return TrialScheduler.STOP if late and result[self.value] > 0 else TrialScheduler.CONTINUE


def every_other(epochs, metric, mode):
    return EveryOther(metric)
'''
SHOWN = {  # group -> function of the package; the catalog imports none of them
    "policies": "halves",
    "criteria": "scores",
    "recoveries": "train",
    "optimizers": "adam",
    "measures": "late",
    "curricula": "halving",
    "samplers": "low",
    "schedulers": "every_other",
}
TRAINING = """
from torch.optim import Adam


def adam(parameters, recipe):
    return Adam(parameters, lr=recipe.lr)
"""
SETTINGS = (
    *("sparsities=[0.8]", "seeds=[0]", "dense.epochs=2", "finetune.epochs=16", "policies=[searched]", "tracking=off"),
    *("search.warm_start=[]", "search.trials=7", "search.sampler=own_search:low"),
    *("search.scheduler=own_search:every_other", "dense.optimizer=own_training:adam", "dense.lr=0.01"),
    *("finetune.optimizer=own_training:adam", "finetune.lr=0.01"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the code, which the commands can import, and with the entry points of a package that has it."""
    (tmp_path / "own_search.py").write_text(CODE)
    (tmp_path / "own_training.py").write_text(TRAINING)
    package = tmp_path / "own_search-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-search\nVersion: 1.0\n")
    groups = (f"[howcompact.{group}]\n{name} = own_search:{name}\n" for group, name in SHOWN.items())
    (package / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def test_a_killed_search_goes_on_by_the_users_own_sampler_and_scheduler(home: Path) -> None:
    path = home / "howcompact-runs" / "digits"

    def ended() -> list[str]:
        folder = StudyFolder(Folder.at(str(path)))
        return [found.spec.key() for found in folder.read_outcomes(folder.keys())]

    err = kill_when(ended, start(home, "digits", "--set", *SETTINGS))
    before = {key: (path / "trials" / key / "outcome.json").read_bytes() for key in ended()}
    assert before, err
    (home / "own_search.py").write_text(CODE.replace("/ 2\n", "/ 3\n"))
    again = start(home, "digits", "--set", *SETTINGS)
    out, err = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, err
    assert "the code of own_search:low differs from what study digits ran with: its searches go on" in err
    counts = json.loads(out)["trials"]
    assert (counts["total"], counts["failed"]) == (7, 0)
    assert {key: (path / "trials" / key / "outcome.json").read_bytes() for key in before} == before
    folder = StudyFolder.open(str(path))
    rows = folder.rows()
    assert all(row.epochs == 1 + 16 if row.status == "done" else row.epochs >= 2 for row in rows)
    assert Counter(row.status for row in rows)["stopped"] >= 2
    (study,) = studies_in(folder).values()
    assert Counter(trial.state for trial in study.trials if trial.state != TrialState.FAIL) == {
        TrialState.COMPLETE: counts["done"],
        TrialState.PRUNED: counts["stopped"],
    }
    proposed = [folder.spec(row.trial).densities or {} for row in rows]
    assert max(density for densities in proposed for density in densities.values()) <= 0.5005  # half of the range


def test_a_package_shows_its_functions_in_the_catalog_and_check_tries_them(home: Path) -> None:
    told = json.loads(installed("catalog", "--json", cwd=home).stdout)["catalog"]
    assert {told[group][f"own_search:{name}"] for group, name in SHOWN.items()} == {"of the package own-search"}
    checked = installed("check", "own_search:low", "--as", "sampler", cwd=home)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines()[0] == "own_search:low can be used as a sampler"
    checked = installed("check", "own_search:every_other", "--as", "scheduler", "--json", cwd=home)
    assert json.loads(checked.stdout)["checked"] == ["16 trials of 9 epochs heard, 8 of them stopped"]
    refused = installed("check", "own_search:low", "--as", "scheduler", cwd=home)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: scheduler 'own_search:low' must be callable as low(epochs, metric, mode)")
