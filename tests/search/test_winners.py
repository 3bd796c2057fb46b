"""What each policy reached, over one folder and several, against trials laid out by hand."""

from pathlib import Path

import pytest

from search.winners import Winner, winners
from tests.search.test_comparison import outcome, study_of
from trainables.outcome import Outcome
from trainables.spec import TrialSpec


def reached(*folders: object) -> dict[tuple[float, str], dict[int, Winner]]:
    return {
        (sparsity, policy): dict(own)
        for (_, sparsity, policy), own in winners(folders).cells.items()  # type: ignore[arg-type]
    }


def test_a_search_reaches_the_best_of_all_it_saw_and_pays_for_all(tmp_path: Path) -> None:
    starts = [outcome("uniform", 0.5, 0, 0.5), outcome("capacity", 0.5, 0, 0.8), outcome("lamp", 0.5, 0, 0.9)]
    own = [outcome("searched", 0.5, 0, accuracy, densities={"a": accuracy}) for accuracy in (0.6, 0.7)]
    found = reached(study_of(tmp_path / "s", [*starts, *own]))
    searched = found[0.5, "searched"][0]
    assert searched.val_accuracy == 0.8
    assert searched.trial == found[0.5, "capacity"][0].trial
    assert searched.trials == 4  # lamp is none of its starting points
    assert searched.cost == pytest.approx(4 * (1.0 + 2 * 2.0 + 3.0))
    assert found[0.5, "capacity"][0].cost == pytest.approx(0.25 + 3.0)


def test_a_stopped_trial_costs_its_search_and_wins_nothing(tmp_path: Path) -> None:
    stopped = outcome("searched", 0.5, 0, 0.9, densities={"a": 0.1}).model_copy(update={"status": "stopped"})
    whole = outcome("searched", 0.5, 0, 0.6, densities={"a": 0.2})
    found = reached(study_of(tmp_path / "s", [stopped, whole], search={"warm_start": []}))
    assert found[0.5, "searched"][0].val_accuracy == 0.6
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
    assert {seed: winner.val_accuracy for seed, winner in found[0.5, "uniform"].items()} == {0: 0.5, 1: 0.7}
    assert found[0.5, "searched"][0].trials == 3  # uniform, which it started from, and two of its own
    assert found[0.5, "searched"][0].val_accuracy == 0.65


def test_of_a_trial_in_two_folders_the_finished_one_counts(tmp_path: Path) -> None:
    done = outcome("uniform", 0.5, 0, 0.5)
    stopped, failed = (done.model_copy(update={"status": status}) for status in ("stopped", "failed"))
    folders = [study_of(tmp_path / str(i), [own]) for i, own in enumerate((failed, stopped, done))]
    assert reached(*folders)[0.5, "uniform"][0].val_accuracy == 0.5


def test_failed_trials_are_left_out(tmp_path: Path) -> None:
    failed = Outcome(spec=TrialSpec(policy="capacity"), status="failed", error="loss")
    assert set(reached(study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.5), failed]))) == {(0.5, "uniform")}


def test_layers_are_averaged_over_networks(tmp_path: Path) -> None:
    seeds = [outcome("uniform", 0.5, seed, 0.5, kept=kept) for seed, kept in enumerate((400, 500, 900))]
    found = winners([study_of(tmp_path / "s", [outcome("erk", 0.9, 0, 0.1, kept=7), *seeds])])
    (cell,) = (own for (_, _, policy), own in found.cells.items() if policy == "uniform")
    assert found.layers.mean([winner.place for winner in cell.values()]) == {"a": pytest.approx(0.6)}
