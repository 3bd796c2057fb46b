"""A search trains each network once: it tells the sampler what is known, and ends where there is no other network."""

import random
from collections import Counter
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from ray.cloudpickle import dumps

from search.methods.samplers import SAMPLERS
from search.results.rows import row_of
from search.results.searches import EXHAUSTED, read_exhausted
from search.results.status import status_of
from search.running.callback import Dropped
from search.running.progress import Progress
from search.searching.density_search import DensitySearch
from search.searching.journal import KEY
from search.searching.networks import network_of
from search.searching.optuna_results import ERROR, SAME
from search.searching.search_history import SearchHistory
from search.searching.searcher import StudySearcher
from tests.search.searching.coarse import (
    CELL,
    COARSE,
    Parts,
    Watched,
    accuracy_of,
    finished,
    folder_of,
    networks_of_the_space,
    parts_of,
)
from tests.search.searching.test_searcher import studies_in
from trainables.names import SEARCHED, SEARCHES
from trainables.spec import TrialSpec


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_search_trains_each_network_once_and_ends_where_there_is_no_other(at_once: int, tmp_path: Path) -> None:
    watched = Watched(folder_of(tmp_path))
    planned = watched.searcher.total
    ran = watched.run_out(at_once)
    networks = [parts_of(spec) for spec in ran]
    assert set(networks) == networks_of_the_space()
    assert len(set(networks)) == len(networks) < planned
    ((trials, reason),) = watched.dropped
    assert trials == planned - len(ran)
    assert f"the search ends with {len(ran)} different networks" in reason
    assert reason.count("\n") == 0
    status = status_of(watched.folder)
    assert status.trials == {**status.trials, "total": len(ran), "done": len(ran), "missing": 0}
    assert status.networks == len(ran)
    assert [name in reason for name in status.exhausted] == [True]


def test_tune_can_write_a_searcher_whose_watchers_cannot_be_pickled(tmp_path: Path) -> None:
    with Progress() as progress, pytest.raises(PicklingError):
        dumps(progress)
    assert dumps(StudySearcher(COARSE, folder_of(tmp_path), lambda spec: {}, Dropped([progress])))


def test_an_exhausted_search_stays_ended_until_something_changes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    ran = Watched(folder).run_out()
    again = Watched(folder)
    assert (again.searcher.total, again.run_out(), again.dropped) == (0, [], [])
    more = COARSE.model_copy(update={"search": COARSE.search.model_copy(update={"trials": 40})})
    assert Watched(folder, more).searcher.total == 0
    other = COARSE.model_copy(update={"search": COARSE.search.model_copy(update={"space": "layers"})})
    wider = Watched(folder, other)
    assert wider.searcher.total == 24 - len(ran)
    assert not {parts_of(spec) for spec in wider.run_out()} & {parts_of(spec) for spec in ran}
    (tmp_path / EXHAUSTED).write_bytes((tmp_path / EXHAUSTED).read_bytes().replace(b": 2", b": 1"))
    with pytest.raises(ValueError, match="checksum"):
        read_exhausted(folder.folder)
    assert Watched(folder).run_out() == []  # it looks once more
    folder.trial(ran[-1].key()).delete()
    assert len(Watched(folder).run_out()) == 1


def test_the_sampler_gets_the_result_of_a_network_that_it_proposes_again(tmp_path: Path) -> None:
    watched = Watched(folder_of(tmp_path))
    ran = {spec.key(): spec for spec in watched.run_out()}  # with the starting point, which the space cannot express
    watched.searcher.close()
    (study,) = studies_in(watched.folder).values()
    again = [trial for trial in study.trials if SAME in trial.user_attrs]
    assert len(again) + len(ran) - 1 == len(study.trials)
    assert {trial.user_attrs[SAME] for trial in again} <= ran.keys()
    for trial in again:
        assert trial.value == pytest.approx(accuracy_of(ran[trial.user_attrs[SAME]]))
        assert KEY not in trial.user_attrs
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("policy", SEARCHES)
def test_every_sampler_and_the_control_propose_new_networks_only(policy: str, sampler: str) -> None:
    cell = CELL.model_copy(update={"round_to": 2})
    search = search_of(policy, cell, sampler=sampler, trials=6, space="layers")
    proposed: list[Parts] = []
    while len(proposed) < 6 and (spec := search.ask()):
        proposed.append(parts_of(spec))
        if len(proposed) % 2:  # the others run
            search.tell(spec.key(), row_of(finished(spec)))
    assert len(set(proposed)) == len(proposed) == 6


def search_of(policy: str = SEARCHED, cell: TrialSpec = CELL, **given: Any) -> DensitySearch:
    values = COARSE.search.model_dump() | {"warm_start": []} | given
    history = SearchHistory(policy, [cell], type(COARSE.search).model_validate(values))
    return DensitySearch(history, InMemoryStorage(), lambda key: None, network_of)


@pytest.mark.parametrize("status", ["done", "stopped", "failed"])
def test_a_proposal_of_a_running_network_waits_for_its_result(status: str) -> None:
    search = search_of()
    handed: list[TrialSpec] = []
    while spec := search.ask():
        handed.append(spec)
    waiting = [trial for trial in search.study.trials if SAME in trial.user_attrs]
    assert len(handed) == search.networks == search.running
    assert waiting
    assert {trial.state for trial in search.study.trials} == {TrialState.RUNNING}
    for spec in handed:
        search.report(spec.key(), 0, 0.25)
        ended = finished(spec).model_copy(update={"status": status, "error": "diverged" * (status == "failed")})
        search.tell(spec.key(), row_of(ended))
    trials = search.study.trials
    leaders = {trial.user_attrs[KEY]: trial for trial in trials if KEY in trial.user_attrs}
    for trial in (trial for trial in trials if SAME in trial.user_attrs):
        leader = leaders[trial.user_attrs[SAME]]
        assert (trial.state, trial.value, trial.intermediate_values) == (leader.state, leader.value, {0: 0.25})
        assert trial.user_attrs.get(ERROR) == leader.user_attrs.get(ERROR)
    assert search.ask() is None


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), policy=st.sampled_from(SEARCHES))
def test_whenever_the_driver_dies_no_network_is_trained_twice(
    seed: int, policy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw, path = random.Random(seed), tmp_path_factory.mktemp("killed")
    study = COARSE.model_copy(update={"policies": ("uniform", policy)})
    handed: dict[str, TrialSpec] = {}
    for _ in range(4):
        watched = Watched(folder_of(path, study), study)
        watched.searcher._journal.save_in_time = lambda: None  # type: ignore[method-assign]  # the kill decides
        running: dict[str, TrialSpec] = {}
        for n in range(draw.randint(0, 12)):
            config: Any = watched.searcher.suggest(str(n)) if draw.random() < 0.6 else None
            if isinstance(config, dict):
                running[str(n)] = handed[config["spec"].key()] = config["spec"]
            elif running:
                trial = draw.choice(sorted(running))
                watched.end(trial, running.pop(trial))
            if draw.random() < 0.3:
                watched.searcher._journal.save()
    last = Watched(folder_of(path, study), study)
    handed |= {spec.key(): spec for spec in last.run_out(at_once=2)}
    last.searcher.close()
    searched = Counter(parts_of(spec) for spec in handed.values() if spec.policy == policy)
    assert set(searched.values()) == {1}
    trials = [trial for known in studies_in(last.folder).values() for trial in known.trials]
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    status = status_of(last.folder)
    assert status.trials["missing"] == status.trials["unfinished"] == 0
    assert status.networks == len({parts_of(spec) for spec in handed.values()})
