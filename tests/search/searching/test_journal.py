"""Optuna's journal of a study folder. Optuna itself can read it, and a kill at any moment leaves it correct."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from search.results.folder import StudyFolder
from search.searching.journal import JOURNAL, Journal
from search.searching.searcher import StudySearcher
from search.study.spec import StudySpec
from tests.search.searching.test_searcher import (
    PARTS,
    STUDY,
    end,
    epoch_result,
    finished,
    run_out,
    searcher_of,
    studies_in,
)
from trainables.names import SEARCHED
from trainables.outcome import Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import write_outcome


def search_in(folder: StudyFolder) -> None:
    """Run a study's searches to their end."""
    searcher = searcher_of(folder)
    run_out(searcher, folder)
    searcher.close()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # from Optuna's plots
def test_the_journal_is_drawn_by_optuna_and_moves_with_its_folder(tmp_path: Path) -> None:
    folder = StudyFolder(Folder.at(str(tmp_path / "s")))
    search_in(folder)
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
    """The driver dies when the journal is any number of trials old and trials run or have ended in any way."""
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
    trials = [trial for search in studies_in(folder).values() for trial in search.trials]
    assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    known = [trial for trial in trials if "trial" in trial.user_attrs]
    keys = Counter(trial.user_attrs["trial"] for trial in known if trial.state != TrialState.FAIL)
    assert set(keys.values()) == {1}  # beside the failures before it
    assert keys.keys() == {trial.user_attrs["trial"] for trial in known}  # each failed trial was tried again
    states = {"done": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    ends = {row.trial: states[row.status] for row in folder.rows() if row.policy == SEARCHED}
    assert {t.user_attrs["trial"]: t.state for t in trials if t.user_attrs.get("trial") in ends} == ends


def act(searcher: StudySearcher, folder: StudyFolder, draw: random.Random, actions: int) -> list[TrialSpec]:
    """Hand out and end trials in random order, and save the journal at times; return the specs handed out."""
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
    elif way == "unheard":  # the trial ended, and the driver died before it knew
        write_outcome(folder.trial(spec.key()), finished(spec, draw.random()))
    else:
        outcome = Outcome(spec=spec, status="failed", error="diverged")
        if way == "stopped":
            searcher.on_trial_result(trial, epoch_result(0, 0.2))
            outcome = finished(spec, 0.2).model_copy(update={"status": "stopped"})
        write_outcome(folder.trial(spec.key()), outcome)
        searcher.on_trial_complete(trial, epoch_result(0, 0.2))


def test_a_journal_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    folder = StudyFolder(Folder.at(str(tmp_path)))
    search_in(folder)
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


def logs_in(folder: Folder) -> list[dict[str, Any]]:
    return [{name: value for name, value in log.items() if name != "crc"} for log in Journal(folder).read_logs(0)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = StudyFolder(Folder.at(str(tmp_path_factory.mktemp("written"))))
    search_in(folder)
    return folder.folder


@settings(max_examples=300, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_of_a_journal_goes_unseen(
    position: float, bit: int, written: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(written.read(JOURNAL))
    content[int(position * len(content))] ^= 1 << bit
    damaged = Folder.at(str(tmp_path_factory.mktemp("damaged")))
    damaged.write(JOURNAL, bytes(content))
    try:
        found = logs_in(damaged)
    except ValueError:
        return
    known = [
        {name: value for name, value in log.items() if name in true}
        for log, true in zip(found, logs_in(written), strict=True)
    ]
    assert known == logs_in(written)  # the damage is in the name of the checksum


def test_lines_that_a_journal_has_lost_are_missed(written: Folder, tmp_path: Path) -> None:
    lines = written.read(JOURNAL).splitlines(keepends=True)
    folder = Folder.at(str(tmp_path))
    folder.write(JOURNAL, b"".join(lines[:3] + lines[4:]))
    with pytest.raises(ValueError, match="checksums must match the lines"):
        Journal(folder)


def test_a_journal_of_lines_without_checksums_is_gone_on_with(written: Folder, tmp_path: Path) -> None:
    folder = Folder.at(str(tmp_path))
    folder.write(JOURNAL, b"".join(json.dumps(log).encode() + b"\n" for log in logs_in(written)))
    assert logs_in(folder) == logs_in(written)
    journal = Journal(folder)
    journal.append_logs([{"op_code": 0}])
    journal.save()
    assert logs_in(folder) == [*logs_in(written), {"op_code": 0}]


def relative(params: dict[str, float]) -> dict[str, float]:
    """Make densities relative, because only their ratios matter."""
    return {part: density / max(params.values()) for part, density in params.items()}
