"""A search with several goals whose trials are stopped early, from the command to the front, with a kill."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from search.results.constraints import value_of
from search.results.folder import StudyFolder
from tests.search.conftest import howcompact
from tests.search.searching.test_searcher import studies_in
from tests.search.waiting import LIMIT, until
from trainables.storage.folder import Folder

GOALS = ["best_val_accuracy", "macs", "latency_ms"]
SETTINGS = (
    *("granularity=channel", "criteria=[l1]", "budget=macs", "sparsities=[0.5,0.8]", "seeds=[0]", "tracking=off"),
    *("dense.epochs=2", "finetune.epochs=4", "policies=[uniform,searched]", "search.warm_start=[uniform]"),
    *(f"search.goals=[{','.join(GOALS)}]", "search.scheduler=asha", "search.trials=14"),
)


def start(home: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("howcompact")), "run", "digits", "--json", "--set", *SETTINGS]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=home, start_new_session=True, **pipes)


def test_a_killed_search_of_three_goals_goes_on_and_only_whole_networks_are_on_its_front(tmp_path: Path) -> None:
    driver = start(tmp_path)
    path = tmp_path / "howcompact-runs" / "digits"

    def stopped() -> list[str]:
        folder = StudyFolder(Folder.at(str(path)))
        return [ended.spec.key() for ended in folder.read_outcomes(folder.keys()) if ended.status == "stopped"]

    until(lambda: stopped() or driver.poll() is not None, LIMIT)
    with suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=LIMIT)
    before = stopped()
    assert before
    again = start(tmp_path)
    out, err = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, err
    counts = json.loads(out)["trials"]
    assert counts["failed"] == 0
    assert counts["done"] + counts["stopped"] == counts["total"] == 14
    folder = StudyFolder.open(str(path))
    rows = {row.trial: row for row in folder.rows()}
    assert {rows[key].status for key in before} == {"stopped"}  # no stopped trial was run again
    (study,) = studies_in(folder).values()
    told = {trial.user_attrs["trial"]: trial for trial in study.trials if "trial" in trial.user_attrs}
    assert set(told) == set(rows)
    for key, row in rows.items():
        values = [value_of(row, goal) for goal in GOALS]
        complete = row.status == "done"
        assert row.epochs == 1 + 4 or not complete  # one that is stopped may be some epochs further by then
        assert told[key].state == (TrialState.COMPLETE if complete else TrialState.PRUNED)
        assert told[key].values == (values if complete else None)
        assert complete or len(told[key].user_attrs["stopped_at"]) == len(GOALS)
    seen = howcompact("best", str(path), "--pareto", "--out", "front", "--json", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    front = {network["trial"] for network in json.loads(seen.stdout)["networks"]}
    assert {rows[key].status for key in front} == {"done"}
    assert howcompact("verify", str(path), cwd=tmp_path).returncode == 0
