"""What a search does with trials that fail, and with those that lose their worker or their storage."""

from pathlib import Path
from typing import Any

import pytest

from search.results.folder import StudyFolder
from search.searching.searcher import LOSSES
from tests.search.searching.test_searcher import end, folder_of, run_out, searcher_of, studies_in
from trainables.outcome import Outcome
from trainables.spec import TrialSpec
from trainables.storage.folder import StorageError
from trainables.trial.reports import TrialLost, to_tune
from trainables.trial.trainable import write_outcome


def fail(folder: StudyFolder, spec: TrialSpec) -> None:
    write_outcome(folder.trial(spec.key()), Outcome(spec=spec, status="failed", error="lost"))


def test_failed_trials_and_failed_proposals_are_tried_again_once_a_run(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    first = searcher_of(folder)
    ran = run_out(first, folder)
    first.close()
    for spec in (ran[0], ran[-1]):
        fail(folder, spec)
    for fails in (True, False):
        again = searcher_of(folder)
        assert again.total == 2
        config: Any = again.suggest("0")
        assert folder.outcome(config["spec"].key()) is None  # a trial that is stopped now has not failed
        end(again, folder, "0", config["spec"], 0.9)
        assert {config["spec"].key()} | {spec.key() for spec in run_out(again, folder)} == {
            ran[0].key(),
            ran[-1].key(),
        }
        again.close()
        if fails:
            for spec in (ran[0], ran[-1]):
                fail(folder, spec)
    assert searcher_of(folder).total == 0
    trials = [trial for study in studies_in(folder).values() for trial in study.trials]
    of_last = [trial.values for trial in trials if trial.user_attrs.get("trial") == ran[-1].key()]
    assert all(trial.state.is_finished() for trial in trials)
    assert len(of_last) == 3  # the first run, and two more


def test_a_proposal_that_failed_before_fails_again_where_it_cannot_run(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    ran = run_out(searcher_of(folder), folder)
    fail(folder, ran[-1])
    again = searcher_of(folder)
    (outcome,) = again.leave_out(lambda spec: "no network" if spec == ran[-1] else "")
    assert (outcome.spec.key(), outcome.error) == (ran[-1].key(), "no network")
    assert not again.left_out
    assert again.total == 0


def test_a_trial_that_loses_its_worker_comes_back_until_it_is_given_up(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    first: Any = searcher.suggest("0")
    for n in range(LOSSES):
        searcher.on_trial_complete(str(n), error=True)
        again: Any = searcher.suggest(str(n + 1))
        assert again == first
        assert not searcher.gave_up(first["spec"])
    searcher.on_trial_complete(str(LOSSES), error=True)
    assert searcher.gave_up(first["spec"])
    assert first["spec"].key() not in {spec.key() for spec in run_out(searcher, folder)}


def test_a_trial_that_loses_its_storage_comes_back_and_ends_the_run_before_it_is_given_up(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s")
    searcher = searcher_of(folder)
    lost = to_tune(TrialLost("storage must work, but"))
    first: Any = searcher.suggest("0")
    for n in range(LOSSES + 1):
        searcher.check()
        searcher.on_trial_result(str(n), lost)
        searcher.on_trial_complete(str(n), lost)
        assert searcher.suggest(str(n + 1)) == first
    with pytest.raises(StorageError, match="storage must work, but"):
        searcher.check()
    assert folder.rows() == []
    again: Any = searcher_of(folder).suggest("0")
    assert again == first
