"""A search with several goals whose trials are stopped early, from the command to the front, with a kill."""

import json
from pathlib import Path

from optuna.trial import TrialState

from search.results.constraints import value_of
from search.results.folder import StudyFolder
from tests.search.conftest import howcompact
from tests.search.drivers import finish, kill_when, start
from tests.search.searching.test_searcher import studies_in
from trainables.storage.folder import Folder

GOALS = ["best_val_accuracy", "macs", "latency_ms"]
SETTINGS = (
    *("granularity=channel", "criteria=[l1]", "budget=macs", "sparsities=[0.5,0.8]", "seeds=[0]", "tracking=off"),
    *("dense.epochs=2", "finetune.epochs=4", "policies=[uniform,searched]", "search.warm_start=[uniform]"),
    *(f"search.goals=[{','.join(GOALS)}]", "search.scheduler=asha", "search.trials=14"),
)


def test_a_killed_search_of_three_goals_goes_on_and_only_whole_networks_are_on_its_front(tmp_path: Path) -> None:
    driver = start(tmp_path, "digits", "--set", *SETTINGS)
    path = tmp_path / "howcompact-runs" / "digits"

    def stopped() -> list[str]:
        folder = StudyFolder(Folder.at(str(path)))
        return [ended.spec.key() for ended in folder.read_outcomes(folder.keys()) if ended.status == "stopped"]

    told = kill_when(stopped, driver)
    before = stopped()
    assert before, told
    counts = finish(start(tmp_path, "digits", "--set", *SETTINGS))["trials"]
    assert counts["failed"] == 0
    assert counts["done"] + counts["stopped"] == counts["total"] == 14
    folder = StudyFolder.open(str(path))
    rows = {row.trial: row for row in folder.rows()}
    assert {rows[key].status for key in before} == {"stopped"}  # no stopped trial was run again
    (study,) = studies_in(folder).values()
    known = {trial.user_attrs["trial"]: trial for trial in study.trials if "trial" in trial.user_attrs}
    assert set(known) == set(rows)
    for key, row in rows.items():
        values = [value_of(row, goal) for goal in GOALS]
        complete = row.status == "done"
        assert row.epochs == 1 + 4 or not complete  # one that is stopped may be some epochs further by then
        assert known[key].state == (TrialState.COMPLETE if complete else TrialState.PRUNED)
        assert known[key].values == (values if complete else None)
        assert complete or len(known[key].user_attrs["stopped_at"]) == len(GOALS)
    seen = howcompact("best", str(path), "--pareto", "--out", "front", "--json", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    front = {network["trial"] for network in json.loads(seen.stdout)["networks"]}
    assert {rows[key].status for key in front} == {"done"}
    assert howcompact("verify", str(path), cwd=tmp_path).returncode == 0
