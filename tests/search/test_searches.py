"""What a search tells Optuna, and that a kill at any moment leaves nothing behind that is wrong."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from search.journal import JOURNAL
from search.results import StudyFolder, row_of
from search.samplers import SAMPLERS
from search.search_spec import SearchSpec
from search.searcher import StudySearcher
from search.searches import Search
from search.spaces import SMALLEST
from search.study import StudySpec
from tests.search.test_searcher import PARTS, STUDY, end, finished, run_out, searcher_of, studies_in
from trainables.outcome import Outcome
from trainables.spec import RANDOM_SEARCH, SEARCHED, TrialSpec
from trainables.storage import Folder
from trainables.trial import write_outcome

CELL = STUDY.cells()[0]


def search_of(cells: tuple[TrialSpec, ...] = (CELL,), policy: str = SEARCHED, **given: Any) -> Search:
    settings = SearchSpec.model_validate({"trials": 6, "warm_start": ["uniform", "capacity"]} | given)
    return Search(policy, cells, settings, InMemoryStorage(), lambda key: None)


def told(search: Search) -> list[optuna.trial.FrozenTrial]:
    return search._begun().trials


def judged(spec: TrialSpec, accuracy: float, macs: float = 0.5) -> Outcome:
    """An outcome of this spec that keeps this share of the multiply-accumulates."""
    ended = finished(spec, accuracy)
    assert ended.facts is not None
    kept = {"macs_kept": round(macs * 1000), "macs_total": 1000}
    return ended.model_copy(update={"facts": ended.facts.model_copy(update=kept)})


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_proposals_are_relative_densities_within_their_bounds(sampler: str) -> None:
    search = search_of(sampler=sampler)
    proposals = [search.propose() for _ in range(6)]
    assert search.remaining == 0
    assert search.running == 6
    assert len({spec.key() for spec in proposals}) == 6
    for spec in proposals:
        assert spec.policy == SEARCHED
        assert spec.densities is not None
        assert set(spec.densities) == set(PARTS)
        assert all(SMALLEST <= density <= 1.0 for density in spec.densities.values())


def test_a_search_is_the_same_for_a_seed_and_draws_anew_when_continued() -> None:
    assert search_of().propose() == search_of().propose()
    continued = search_of()
    continued.past(row_of(finished(search_of().propose(), 0.5)))
    assert continued.propose() != search_of().propose()


def test_states_say_how_a_proposal_ended() -> None:
    search = search_of()
    done, stopped, failed = (search.propose() for _ in range(3))
    for spec in (done, stopped, failed):
        search.report(spec.key(), 0, 0.3)
    search.finish(done.key(), row_of(finished(done, 0.9)))
    search.finish(stopped.key(), row_of(Outcome(spec=stopped, status="stopped")))
    search.finish(failed.key(), row_of(Outcome(spec=failed, status="failed", error="validation loss became nan")))
    search.start(row_of(finished(CELL, 0.7)))
    first, cut, lost, start = told(search)
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.9)
    assert (cut.state, cut.intermediate_values) == (TrialState.PRUNED, {0: 0.3})
    assert (lost.state, lost.user_attrs["error"]) == (TrialState.FAIL, "validation loss became nan")
    assert start.params == dict.fromkeys(PARTS, 1.0)
    assert (start.value, start.user_attrs["policy"]) == (0.7, "uniform")
    assert (search.running, search.remaining) == (0, 2)


def test_an_accuracy_that_is_no_number_is_a_failure_with_its_reason() -> None:
    search = search_of()
    spec = search.propose()
    row = row_of(finished(spec, 0.5))
    search.finish(spec.key(), row.model_construct(**(dict(row) | {"val_accuracy": float("nan")})))
    (trial,) = told(search)
    assert (trial.state, trial.user_attrs["error"]) == (
        TrialState.FAIL,
        "a goal or a constraint is not a finite number",
    )


def test_what_a_space_cannot_express_is_tried_where_it_is_nearest() -> None:
    search = search_of(space="stages")
    uneven = row_of(finished(CELL.model_copy(update={"policy": "capacity"}), 0.7))
    uneven = uneven.model_copy(update={"parts": dict(zip(PARTS, (0.9, 0.1, 0.4, 0.3, 0.2, 0.6), strict=False))})
    search.start(row_of(finished(CELL, 0.6)))
    search.start(uneven)
    assert [trial.value for trial in told(search) if trial.state == TrialState.COMPLETE] == [0.6]
    proposed = search.propose()
    assert proposed.densities is not None
    nearest = search._spaces[CELL.sparsity].nearest(uneven.parts)
    assert proposed.densities == pytest.approx(search._spaces[CELL.sparsity].densities(nearest))


def test_the_control_starts_from_nothing_and_knows_no_model() -> None:
    control = search_of(policy=RANDOM_SEARCH, sampler="gp", space="family")
    proposals = [control.propose() for _ in range(6)]
    assert {spec.policy for spec in proposals} == {RANDOM_SEARCH}
    assert isinstance(control._begun().sampler, optuna.samplers.RandomSampler)
    assert control._begun().study_name.startswith("random-search: small_cnn")


def test_constraints_are_broken_by_what_exceeds_them() -> None:
    search = search_of(constraints=["macs<=0.4", "params>=0.1"])
    spec = search.propose()
    search.finish(spec.key(), row_of(judged(spec, 0.9, macs=0.5)))
    (trial,) = told(search)
    kept = row_of(judged(spec, 0.9)).params_kept or 0
    share = kept / (row_of(judged(spec, 0.9)).params_total or 1)
    assert trial.constraints == pytest.approx({"macs<=0.4": 0.1, "params>=0.1": 0.1 - share})


def test_several_goals_make_one_search_over_all_sparsities_with_its_front() -> None:
    cells = tuple(STUDY.cells())
    search = search_of(cells, goals=["val_accuracy", "macs"], sampler="nsga2", trials=20)
    seen = Counter[float]()
    for n in range(12):
        spec = search.propose()
        seen[spec.sparsity] += 1
        search.report(spec.key(), 0, 0.1)
        search.finish(spec.key(), row_of(judged(spec, 0.5 + n / 100, macs=1 - spec.sparsity - n / 1000)))
    assert set(seen) == {cell.sparsity for cell in cells}
    study = search._begun()
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = [tuple(trial.values) for trial in study.trials]
    front = {v for v in values if not any(o[0] >= v[0] and o[1] <= v[1] and o != v for o in values)}
    assert {tuple(trial.values) for trial in study.best_trials} == front


def test_studies_of_several_goals_have_one_search_for_all_sparsities() -> None:
    goals = STUDY.search.model_copy(update={"goals": ("val_accuracy", "params")})
    (one,) = STUDY.model_copy(update={"search": goals}).searches()
    assert [cell.sparsity for cell in one[1]] == list(STUDY.sparsities)
    assert [[cell.sparsity for cell in cells] for _, cells in STUDY.searches()] == [[0.5], [0.8]]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # of its plots
def test_the_journal_is_drawn_by_optuna_and_moves_with_its_folder(tmp_path: Path) -> None:
    folder = StudyFolder(Folder.at(str(tmp_path / "s")))
    searcher = searcher_of(folder)
    run_out(searcher, folder)
    searcher.close()
    (tmp_path / "s").rename(tmp_path / "moved")
    moved = StudyFolder(Folder.at(str(tmp_path / "moved")))
    studies = studies_in(moved)
    assert len(studies) == 2
    for study in studies.values():
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
        assert optuna.visualization.matplotlib.plot_optimization_history(study).lines
        assert len(optuna.importance.get_param_importances(study)) == len(PARTS)
    assert searcher_of(moved).total == 0
    assert not list((tmp_path / "moved").glob("*.lock*"))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), sampler=st.sampled_from(["tpe", "cmaes", "nsga2", "random"]))
def test_whenever_the_driver_dies_the_continued_search_is_whole(
    seed: int, sampler: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The journal is as old as any moment of the run; trials ran, or had ended in any way, when the driver died."""
    draw = random.Random(seed)
    folder = StudyFolder(Folder.at(str(tmp_path_factory.mktemp("killed"))))
    study = STUDY.model_copy(update={"search": STUDY.search.model_copy(update={"sampler": sampler, "trials": 8})})
    searcher = StudySearcher(study, folder, configure=lambda spec: {"spec": spec})
    searcher._journal.save_in_time = lambda: None  # type: ignore[method-assign]  # the kill decides what is saved
    handed = act(searcher, folder, draw, draw.randint(0, 30))
    again = StudySearcher(study, folder, configure=lambda spec: {"spec": spec})
    handed += run_out(again, folder, 200)
    again.close()
    named = [spec for spec in handed if spec.policy != SEARCHED]
    proposed = Counter(spec.key() for spec in handed if spec.policy == SEARCHED)
    assert len({spec.key() for spec in named}) == 4
    assert len(proposed) == 2 * (8 - 2)
    assert again.total == 0
    trials = [trial for own in studies_in(folder).values() for trial in own.trials]
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    keys = Counter(trial.user_attrs["trial"] for trial in trials if "trial" in trial.user_attrs)
    assert set(keys.values()) == {1}
    states = {"done": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    ends = {row.trial: states[row.status] for row in folder.rows() if row.policy == SEARCHED}
    assert {t.user_attrs["trial"]: t.state for t in trials if t.user_attrs.get("trial") in ends} == ends


def act(searcher: StudySearcher, folder: StudyFolder, draw: random.Random, actions: int) -> list[TrialSpec]:
    """Hand out and end trials in any order, saving the journal now and then; return what was handed out."""
    handed: list[TrialSpec] = []
    running: dict[str, TrialSpec] = {}
    for n in range(actions):
        if draw.random() < 0.2:
            searcher._journal.save()
        if len(running) < 3 and draw.random() < 0.6:
            config: Any = searcher.suggest(str(n))
            if isinstance(config, dict):
                running[str(n)] = config["spec"]
                handed.append(config["spec"])
        elif running:
            trial = draw.choice(sorted(running))
            spec = running.pop(trial)
            end_somehow(searcher, folder, trial, spec, draw)
    return handed


def end_somehow(searcher: StudySearcher, folder: StudyFolder, trial: str, spec: TrialSpec, draw: random.Random) -> None:
    way = draw.choice(["done", "failed", "stopped", "unheard"]) if spec.policy == SEARCHED else "done"
    if way == "done":
        end(searcher, folder, trial, spec, draw.random())
    elif way == "unheard":  # it ended, and the driver died before it heard of it
        write_outcome(folder.trial(spec.key()), finished(spec, draw.random()))
    else:
        outcome = Outcome(spec=spec, status="failed", error="diverged")
        if way == "stopped":
            searcher.on_trial_result(trial, {"epoch": 0, "val_accuracy": 0.2, "final": False})
            outcome = finished(spec, 0.2).model_copy(update={"status": "stopped"})
        write_outcome(folder.trial(spec.key()), outcome)
        searcher.on_trial_complete(trial, {"epoch": 0, "val_accuracy": 0.2, "best_val_accuracy": 0.2, "final": False})


def test_a_journal_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    folder = StudyFolder(Folder.at(str(tmp_path)))
    searcher = searcher_of(folder)
    run_out(searcher, folder)
    searcher.close()
    before = {name: [t.params for t in study.trials] for name, study in studies_in(folder).items()}
    (tmp_path / JOURNAL).unlink()
    more = StudySpec.model_validate(STUDY.model_dump() | {"search": STUDY.search.model_dump() | {"trials": 6}})
    again = StudySearcher(more, folder, configure=lambda spec: {"spec": spec})
    run_out(again, folder)
    again.close()
    for name, study in studies_in(folder).items():
        assert len(study.trials) == 6
        anew = [relative(trial.params) for trial in study.trials]
        assert all(any(relative(params) == pytest.approx(known, rel=1e-6) for known in anew) for params in before[name])


def relative(params: dict[str, float]) -> dict[str, float]:
    """Only ratios of densities matter."""
    return {part: density / max(params.values()) for part, density in params.items()}
