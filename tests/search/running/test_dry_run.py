"""What a run would do, counted by hand, before and after a study has run in this process."""

from pathlib import Path

import pytest

from search.running.dry_run import dry_run
from search.study.reading import read_study
from search.study.spec import StudySpec
from tests.search.conftest import howcompact
from tests.search.in_process import run_in_process
from trainables.storage.folder import Folder

SETTINGS = ("width=0.25", "dense.epochs=2", "finetune.epochs=1", "data.max_train=200", "calibration=32")
NAMED = (*SETTINGS, "policies=[uniform,erk]", "sparsities=[0.5,0.8]", "seeds=[0,1]")


def quiet(text: str) -> None:
    pass


def study_of(*more: str) -> StudySpec:
    return read_study("digits", [*NAMED, *more])


def test_before_anything_has_run_all_is_to_do_and_times_are_unknown(tmp_path: Path) -> None:
    plan = dry_run(study_of(), Folder.at(str(tmp_path)), quiet)
    assert (plan.trials, plan.trials_done, plan.searches) == (2 * 2 * 2, 0, 0)
    assert (plan.dense, plan.dense_reused) == (2, 0)
    assert plan.epochs == 2 * 2 + 8 * 2
    assert (plan.trial_seconds, plan.dense_seconds, plan.bytes) == (None, None, None)
    assert not (tmp_path / "digits").exists()


def test_what_has_run_is_reused_and_tells_times_and_sizes(tmp_path: Path) -> None:
    folder = run_in_process(tmp_path, study_of())
    folder.write_table()
    done = dry_run(study_of(), folder.folder.parent, quiet)
    assert (done.trials, done.trials_done, done.dense, done.dense_reused) == (0, 8, 0, 2)
    assert (done.trial_seconds, done.dense_seconds, done.bytes) == (0.0, 0.0, 0)

    more = dry_run(study_of("seeds=[0,1,2]"), folder.folder.parent, quiet)
    assert (more.trials, more.dense, more.dense_reused, more.epochs) == (4, 1, 2, 2 + 4 * 2)
    rows = folder.rows()
    mean = sum(row.seconds / row.epochs for row in rows) / len(rows)
    assert more.trial_seconds == pytest.approx(4 * 2 * mean)
    assert more.dense_seconds
    assert more.bytes
    kept = [path.stat().st_size for path in tmp_path.glob("digits/trials/*/epoch-*/*") if path.name != "manifest.json"]
    assert more.bytes == pytest.approx(4 * sum(kept) / 8, abs=1)

    other = dry_run(study_of("name=other", "policies=[lamp]"), folder.folder.parent, quiet)
    assert (other.trials, other.trials_done, other.dense_reused) == (4, 0, 2)
    assert other.trial_seconds == pytest.approx(4 * 2 * mean)  # by the trials of the other study


def test_proposals_of_searches_count_without_their_starts(tmp_path: Path) -> None:
    searched = study_of("policies=[uniform,searched]", "search.trials=5", "search.warm_start=[uniform]")
    plan = dry_run(searched, Folder.at(str(tmp_path)), quiet)
    assert (plan.searches, plan.trials) == (4, 4 + 4 * (5 - 1))


def test_the_command_starts_nothing(tmp_path: Path) -> None:
    done = howcompact("run", "digits", "--dry-run", "--set", *NAMED, cwd=tmp_path)
    assert done.returncode == 0
    assert "8 trials to run, 0 done; 0 searches" in done.stdout
    assert done.stdout.endswith("nothing was started\n")
    wrong = howcompact("run", "digits", "--dry-run", "--set", "seeds=0", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
