"""What each policy reached, over one folder and several, against trials laid out by hand."""

import json
from pathlib import Path

import pytest

from search.comparison.compare import compare
from search.comparison.winners import Winner, winners
from tests.search.comparison.test_compare import outcome, study_of
from trainables.outcome import Outcome
from trainables.spec import TrialSpec
from trainables.storage.sealed_json import sealed, unsealed


def reached(*folders: object) -> dict[tuple[float, str], dict[int, Winner]]:
    return {
        (sparsity, policy): dict(own)
        for (_, sparsity, policy), own in winners(folders).cells.items()  # type: ignore[arg-type]
    }


def test_a_search_reaches_the_best_of_all_it_saw_and_pays_for_all(tmp_path: Path) -> None:
    starts = [outcome("uniform", 0.5, 0, 0.5), outcome("capacity", 0.5, 0, 0.8), outcome("lamp", 0.5, 0, 0.9)]
    own = [outcome("searched", 0.5, 0, accuracy, densities={"a": accuracy}) for accuracy in (0.6, 0.7)]
    found = reached(study_of(tmp_path / "s", [*starts, *own], search={"warm_start": ["uniform", "capacity"]}))
    searched = found[0.5, "searched"][0]
    assert searched.best_val_accuracy == 0.8
    assert searched.trial == found[0.5, "capacity"][0].trial
    assert searched.trials == 4  # lamp is none of its starting points
    assert searched.cost_seconds == pytest.approx(4 * (1.0 + 2 * 2.0 + 3.0))
    assert searched.cost_evaluations == 4 * (1 + 7 + 11)
    assert searched.cost_images == 4 * (3 * 500 + 1100)
    capacity = found[0.5, "capacity"][0]
    assert capacity.cost_seconds == pytest.approx(0.25 + 3.0)
    assert (capacity.cost_evaluations, capacity.cost_images) == (7 + 11, 700 + 1100)


def test_what_an_older_version_did_not_count_is_not_guessed(tmp_path: Path) -> None:
    new = [outcome("searched", 0.5, 0, 0.6, densities={"a": 0.1}), outcome("capacity", 0.5, 1, 0.7)]
    old = [outcome("uniform", 0.5, 0, 0.5), outcome("erk", 0.5, 0, 0.4)]
    folder = study_of(tmp_path / "s", [*new, *old], search={"warm_start": ["uniform"]})
    for spec in (one.spec for one in old):
        told = json.loads(unsealed(folder.trial(spec.key()).read("outcome.json")))
        for name in ("evaluations", "images"):
            del told["facts"][f"allocation_{name}"], told["facts"][f"profile_{name}"]
        del told["facts"]["latency_ms"], told["history"][0]["images"]
        folder.trial(spec.key()).write("outcome.json", sealed(json.dumps(told).encode()))
    folder.write_table()
    found = reached(folder)
    for policy in ("searched", "uniform", "erk"):  # the search started from uniform
        winner = found[0.5, policy][0]
        assert winner.cost_seconds > 0
        assert (winner.cost_evaluations, winner.cost_images) == (None, None)
    assert found[0.5, "capacity"][1].cost_images == 1800
    rows = {(row.policy, tuple(row.seeds)): row for row in compare([folder]).rows}
    assert rows["erk", (0,)].search_cost_images is None
    assert rows["capacity", (1,)].search_cost_images == 1800


def test_the_control_pays_for_its_own_draws_and_starts_from_nothing(tmp_path: Path) -> None:
    start = outcome("uniform", 0.5, 0, 0.8)
    own = [outcome("searched", 0.5, 0, 0.6, densities={"a": 0.1})]
    drawn = [outcome("random-search", 0.5, 0, accuracy, densities={"a": accuracy}) for accuracy in (0.7, 0.5, 0.4)]
    found = reached(study_of(tmp_path / "s", [start, *own, *drawn], search={"warm_start": ["uniform"]}))
    searched, control = found[0.5, "searched"][0], found[0.5, "random-search"][0]
    assert (searched.best_val_accuracy, searched.trials) == (0.8, 2)
    assert (control.best_val_accuracy, control.trials) == (0.7, 3)
    assert control.cost_seconds == pytest.approx(3 * (1.0 + 2 * 2.0 + 3.0))


def test_what_breaks_a_bound_is_paid_for_and_wins_nothing(tmp_path: Path) -> None:
    def kept(trial: Outcome, macs: float) -> Outcome:
        assert trial.facts is not None
        facts = {"macs_kept": round(100 * macs), "macs_total": 100}
        return trial.model_copy(update={"facts": trial.facts.model_copy(update=facts)})

    trials = [
        kept(outcome("uniform", 0.5, 0, 0.9), 0.5),
        kept(outcome("searched", 0.5, 0, 0.8, densities={"a": 0.8}), 0.41),
        kept(outcome("searched", 0.5, 0, 0.7, densities={"a": 0.7}), 0.4),
        kept(outcome("searched", 0.5, 0, 0.6, densities={"a": 0.6}), 0.1),
    ]
    bounded = {"warm_start": ["uniform"], "constraints": ["macs<=0.4"]}
    searched = reached(study_of(tmp_path / "s", trials, search=bounded))[0.5, "searched"][0]
    assert (searched.best_val_accuracy, searched.trials) == (0.7, 4)
    vain = study_of(tmp_path / "n", trials, search=bounded | {"constraints": ["macs<0.1"]})
    assert (0.5, "searched") not in reached(vain)
    (warning,) = compare([vain]).warnings
    assert warning.startswith("searched: no row for 1 cell (a sparsity and a seed), as no trial of the search ended")


def test_a_stopped_trial_costs_its_search_and_wins_nothing(tmp_path: Path) -> None:
    stopped = outcome("searched", 0.5, 0, 0.9, densities={"a": 0.1}).model_copy(update={"status": "stopped"})
    whole = outcome("searched", 0.5, 0, 0.6, densities={"a": 0.2})
    found = reached(study_of(tmp_path / "s", [stopped, whole], search={"warm_start": []}))
    assert found[0.5, "searched"][0].best_val_accuracy == 0.6
    assert found[0.5, "searched"][0].trials == 2
    assert (0.9, "searched") not in found


def test_a_search_of_stopped_trials_alone_reaches_nothing(tmp_path: Path) -> None:
    stopped = outcome("searched", 0.5, 0, 0.9, densities={"a": 0.1}).model_copy(update={"status": "stopped"})
    found = reached(study_of(tmp_path / "s", [stopped, outcome("erk", 0.5, 0, 0.4)], search={"warm_start": []}))
    assert set(found) == {(0.5, "erk")}


def test_a_trial_in_two_folders_counts_once(tmp_path: Path) -> None:
    shared = [outcome("uniform", 0.5, 0, 0.5), outcome("searched", 0.5, 0, 0.6, densities={"a": 0.1})]
    more = [outcome("uniform", 0.5, 1, 0.7), outcome("searched", 0.5, 0, 0.65, densities={"a": 0.2})]
    found = reached(study_of(tmp_path / "one", shared), study_of(tmp_path / "two", [*shared, *more]))
    assert {seed: winner.best_val_accuracy for seed, winner in found[0.5, "uniform"].items()} == {0: 0.5, 1: 0.7}
    assert found[0.5, "searched"][0].trials == 3  # uniform, which it started from, and two of its own
    assert found[0.5, "searched"][0].best_val_accuracy == 0.65


def test_of_a_trial_in_two_folders_the_finished_one_counts(tmp_path: Path) -> None:
    done = outcome("uniform", 0.5, 0, 0.5)
    stopped, failed = (done.model_copy(update={"status": status}) for status in ("stopped", "failed"))
    folders = [study_of(tmp_path / str(i), [own]) for i, own in enumerate((failed, stopped, done))]
    assert reached(*folders)[0.5, "uniform"][0].best_val_accuracy == 0.5


def test_failed_trials_are_left_out(tmp_path: Path) -> None:
    failed = Outcome(spec=TrialSpec(policy="capacity"), status="failed", error="loss")
    assert set(reached(study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.5), failed]))) == {(0.5, "uniform")}


def test_layers_are_averaged_over_networks(tmp_path: Path) -> None:
    seeds = [outcome("uniform", 0.5, seed, 0.5, kept=kept) for seed, kept in enumerate((400, 500, 900))]
    found = winners([study_of(tmp_path / "s", [outcome("erk", 0.9, 0, 0.1, kept=7), *seeds])])
    (cell,) = (own for (_, _, policy), own in found.cells.items() if policy == "uniform")
    assert found.layers.mean([winner.table_row for winner in cell.values()]) == {"a": pytest.approx(0.6)}
