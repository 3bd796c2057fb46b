"""Schedulers: each search has its own, named policies are never stopped, and each survives a real run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from search.results import StudyFolder
from search.schedulers import SCHEDULERS, asha, per_search
from search.searcher import StudySearcher
from tests.search.conftest import run_small


def trial(name: str, search: str | None) -> Any:
    return SimpleNamespace(trial_id=name, search=search, status="RUNNING")


def test_a_trial_is_compared_with_its_own_search_only() -> None:
    scheduler = per_search(asha, lambda t: t.search)
    trials = {name: trial(name, name[0] if name != "named" else None) for name in ("a1", "a2", "a3", "b1", "named")}
    for one in trials.values():
        scheduler.on_trial_add(None, one)  # type: ignore[arg-type]

    def decide(name: str, accuracy: float, final: bool = False) -> str:
        result = {"epoch": 1, "val_accuracy": accuracy, "final": final}
        return scheduler.on_trial_result(None, trials[name], result)  # type: ignore[arg-type]

    assert decide("a1", 0.9) == TrialScheduler.CONTINUE
    assert decide("a2", 0.8) == TrialScheduler.STOP
    assert decide("a3", 0.1, final=True) == TrialScheduler.CONTINUE  # it ends by itself, and says so
    assert decide("b1", 0.1) == TrialScheduler.CONTINUE
    assert decide("named", 0.0) == TrialScheduler.CONTINUE


def test_a_failed_trial_is_not_a_bad_one() -> None:
    scheduler = per_search(asha, lambda t: t.search)
    failed = trial("a", "s")
    scheduler.on_trial_add(None, failed)  # type: ignore[arg-type]
    result = {"epoch": -1, "val_accuracy": 0.0, "error": "x"}
    assert scheduler.on_trial_result(None, failed, result) == TrialScheduler.CONTINUE  # type: ignore[arg-type]
    scheduler.on_trial_complete(None, failed, result)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(set(SCHEDULERS) - {"fifo"}))  # fifo runs wherever a study does
def test_a_study_runs_to_its_end_under_every_scheduler(name: str, tmp_path: Path) -> None:
    settings = ["seeds=[0]", "sparsities=[0.9]", "policies=[uniform,searched]", "search.warm_start=[uniform]"]
    settings += ["search.trials=6", "finetune.epochs=4", f"search.scheduler={name}", "tracking=off"]
    run = run_small(tmp_path, settings=settings)
    counts, folder = run.summary["trials"], StudyFolder.open(str(run.folder))
    assert counts["done"] + counts["stopped"] == counts["total"] == 6
    assert counts["failed"] == 0
    assert "goes on" not in run.stderr  # nothing is paused, nothing lost
    searched = [row for row in folder.rows() if row.policy == "searched"]
    assert all((row.status == "done") is (row.epochs == 1 + 4) for row in searched)
    rows = {row["policy"]: row for row in run.told("compare", str(run.folder))["rows"]}
    assert rows["searched"]["trials"] == 6
    assert StudySearcher(folder.study, folder, configure=lambda spec: {}).total == 0  # none is run again
