"""What a search proposes, and how it reports the ends of proposals to Optuna."""

from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from search.methods.names import SAMPLER_ABILITIES
from search.methods.samplers import SAMPLERS
from search.methods.spaces import SMALLEST, SPACES
from search.results.rows import row_of
from search.searching.density_search import DensitySearch
from search.searching.networks import network_of
from search.searching.search_history import SearchHistory
from search.study.search_spec import SearchSpec
from tests.search.searching.test_searcher import PARTS, STUDY, finished
from trainables.names import RANDOM_SEARCH, SEARCHED
from trainables.outcome import Outcome
from trainables.spec import TrialSpec

CELL = STUDY.cells()[0]


def history_of(cells: tuple[TrialSpec, ...] = (CELL,), policy: str = SEARCHED, **given: Any) -> SearchHistory:
    settings = SearchSpec.model_validate({"trials": 6, "warm_start": ["uniform", "capacity"]} | given)
    return SearchHistory(policy, cells, settings)


def opened(history: SearchHistory) -> DensitySearch:
    return DensitySearch(history, InMemoryStorage(), lambda key: None, network_of)


def search_of(cells: tuple[TrialSpec, ...] = (CELL,), policy: str = SEARCHED, **given: Any) -> DensitySearch:
    return opened(history_of(cells, policy, **given))


def proposed(search: DensitySearch) -> TrialSpec:
    """Let a search propose a trial."""
    spec = search.ask()
    assert spec is not None
    return spec


def judged(spec: TrialSpec, accuracy: float, macs: float = 0.5) -> Outcome:
    """Make an outcome of this spec that keeps this fraction of the multiply-accumulates."""
    ended = finished(spec, accuracy)
    assert ended.facts is not None
    kept = {"macs_kept": round(macs * 1000), "macs_total": 1000}
    return ended.model_copy(update={"facts": ended.facts.model_copy(update=kept)})


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_proposals_are_relative_densities_within_their_bounds(sampler: str) -> None:
    history = history_of(sampler=sampler)
    search = opened(history)
    proposals = [proposed(search) for _ in range(6)]
    assert history.remaining == 0
    assert search.running == 6
    assert len({spec.key() for spec in proposals}) == 6
    for spec in proposals:
        assert spec.policy == SEARCHED
        assert spec.densities is not None
        assert set(spec.densities) == set(PARTS)
        assert all(SMALLEST <= density <= 1.0 for density in spec.densities.values())


def test_a_search_is_the_same_for_a_seed_and_draws_anew_when_continued() -> None:
    assert proposed(search_of()) == proposed(search_of())
    continued = history_of()
    continued.earlier.append(row_of(finished(proposed(search_of()), 0.5)))
    assert proposed(opened(continued)) != proposed(search_of())


def test_states_say_how_a_proposal_ended() -> None:
    history = history_of()
    search = opened(history)
    done, stopped, failed = (proposed(search) for _ in range(3))
    for spec in (done, stopped, failed):
        search.report(spec.key(), 0, 0.3)
    search.tell(done.key(), row_of(finished(done, 0.9)))
    search.tell(stopped.key(), row_of(Outcome(spec=stopped, status="stopped")))
    search.tell(failed.key(), row_of(Outcome(spec=failed, status="failed", error="validation loss became nan")))
    history.starts.append(row_of(finished(CELL, 0.7)))
    search.tell_start(history.starts[0])
    first, cut, lost, start = search.study.trials
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.9)
    assert (cut.state, cut.intermediate_values) == (TrialState.PRUNED, {0: 0.3})
    assert (lost.state, lost.user_attrs["error"]) == (TrialState.FAIL, "validation loss became nan")
    assert start.params == dict.fromkeys(PARTS, 1.0)
    assert (start.value, start.user_attrs["policy"]) == (0.7, "uniform")
    assert (search.running, history.remaining) == (0, 2)


def test_an_accuracy_that_is_no_number_is_a_failure_with_its_reason() -> None:
    search = search_of()
    spec = proposed(search)
    row = row_of(finished(spec, 0.5))
    search.tell(spec.key(), row.model_construct(**(dict(row) | {"best_val_accuracy": float("nan")})))
    (trial,) = search.study.trials
    assert (trial.state, trial.user_attrs["error"]) == (
        TrialState.FAIL,
        "a goal or a constraint is not a finite number",
    )


def test_a_start_outside_the_space_is_tried_at_its_nearest_point() -> None:
    history = history_of(space="stages")
    uneven = row_of(finished(CELL.model_copy(update={"policy": "capacity"}), 0.7))
    uneven = uneven.model_copy(update={"parts": dict(zip(PARTS, (0.9, 0.1, 0.4, 0.3, 0.2, 0.6), strict=False))})
    history.starts += [row_of(finished(CELL, 0.6)), uneven]
    search = opened(history)
    assert [trial.value for trial in search.study.trials if trial.state == TrialState.COMPLETE] == [0.6]
    nearest = proposed(search)
    assert nearest.densities is not None
    space = SPACES["stages"](CELL, None)
    assert nearest.densities == pytest.approx(space.densities(space.nearest(uneven.parts)))


def test_the_control_starts_from_nothing_and_knows_no_model() -> None:
    control = search_of(policy=RANDOM_SEARCH, sampler="gp", space="family")
    proposals = [proposed(control) for _ in range(6)]
    assert {spec.policy for spec in proposals} == {RANDOM_SEARCH}
    assert isinstance(control.study.sampler, optuna.samplers.RandomSampler)
    assert control.study.study_name.startswith("random-search: small_cnn")


def test_constraints_are_broken_by_what_exceeds_them() -> None:
    search = search_of(constraints=["macs<=0.4", "params>=0.1"])
    spec = proposed(search)
    search.tell(spec.key(), row_of(judged(spec, 0.9, macs=0.5)))
    (trial,) = search.study.trials
    kept = row_of(judged(spec, 0.9)).params_kept or 0
    share = kept / (row_of(judged(spec, 0.9)).params_total or 1)
    assert trial.constraints == pytest.approx({"macs<=0.4": 0.1, "params>=0.1": 0.1 - share})


def test_several_goals_make_one_search_over_all_sparsities_with_its_front() -> None:
    cells = tuple(STUDY.cells())
    search = search_of(cells, goals=["best_val_accuracy", "macs"], sampler="nsga2", trials=20)
    seen = Counter[float]()
    for n in range(12):
        spec = proposed(search)
        seen[spec.sparsity] += 1
        search.report(spec.key(), 0, 0.1)
        search.tell(spec.key(), row_of(judged(spec, 0.5 + n / 100, macs=1 - spec.sparsity - n / 1000)))
    assert set(seen) == {cell.sparsity for cell in cells}
    study = search.study
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = [tuple(trial.values) for trial in study.trials]
    front = {v for v in values if not any(o[0] >= v[0] and o[1] <= v[1] and o != v for o in values)}
    assert {tuple(trial.values) for trial in study.best_trials} == front


def test_a_stopped_trial_of_several_goals_is_pruned_and_says_what_it_had_reached() -> None:
    search = search_of(tuple(STUDY.cells()), goals=["best_val_accuracy", "macs"], constraints=["macs<=0.4"], trials=20)
    done, stopped, early = (proposed(search) for _ in range(3))
    search.tell(done.key(), row_of(judged(done, 0.6, macs=0.4)))
    search.tell(stopped.key(), row_of(judged(stopped, 0.9, macs=0.1).model_copy(update={"status": "stopped"})))
    search.tell(early.key(), row_of(Outcome(spec=early, status="stopped")))  # before its first checkpoint
    complete, pruned, unknown = search.study.trials
    assert (complete.state, complete.values) == (TrialState.COMPLETE, [0.6, 0.4])
    assert (pruned.state, pruned.values, pruned.user_attrs["stopped_at"]) == (TrialState.PRUNED, None, [0.9, 0.1])
    assert pruned.constraints == pytest.approx({"macs<=0.4": -0.3})
    assert (unknown.state, "stopped_at" in unknown.user_attrs) == (TrialState.PRUNED, False)
    assert search.study.best_trials == [complete]  # no front has a network that was not trained to its end


@pytest.mark.parametrize("sampler", [name for name, able in SAMPLER_ABILITIES.items() if able.several_goals])
def test_every_sampler_of_several_goals_goes_on_after_stopped_trials(sampler: str) -> None:
    search = search_of(tuple(STUDY.cells()), goals=["best_val_accuracy", "macs"], sampler=sampler, trials=40)
    for n in range(24):
        spec = proposed(search)
        ended = judged(spec, 0.5 + n / 100, macs=1 - spec.sparsity - n / 1000)
        search.tell(spec.key(), row_of(ended if n % 3 == 0 else ended.model_copy(update={"status": "stopped"})))
    states = Counter(trial.state for trial in search.study.trials)
    assert states == {TrialState.COMPLETE: 8, TrialState.PRUNED: 16}


def test_studies_of_several_goals_have_one_search_for_all_sparsities() -> None:
    goals = STUDY.search.model_copy(update={"goals": ("best_val_accuracy", "params")})
    (one,) = STUDY.model_copy(update={"search": goals}).searches()
    assert [cell.sparsity for cell in one[1]] == list(STUDY.sparsities)
    assert [[cell.sparsity for cell in cells] for _, cells in STUDY.searches()] == [[0.5], [0.8]]
