"""A study in MLflow: each trial is there whole and once, after one run or several."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.data
import pytest

from search.tracking.tracker import Finished, Tracker, UsedData
from tests.search.mlflow_server import Seen, data_sets_of, shows
from tests.search.waiting import until

# A fresh process checks that MLflow's first import and its database migration print nothing, as a user expects.
FIRST_USE = """
import sys
from search.tracking.tracker import Finished, Tracker
assert "mlflow" not in sys.modules, "importing search.tracking.tracker must stay cheap"
tracker = Tracker(sys.argv[1], "first", {}, warn=print, artifacts=sys.argv[2])
tracker.backfill([Finished("a", {}, {}, {"m": 1.0})])
tracker.close(60)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a store by first use, which must print nothing, not even a warning that Python hides by default."""
    folder = tmp_path_factory.mktemp("database")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    command = [sys.executable, "-W", "error", "-c", FIRST_USE, uri, str(folder / "files")]
    run = subprocess.run(command, cwd=folder, capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    return uri


def record(key: str, epochs: int = 3, **changed: Any) -> Finished:
    curve = {step: {"val_accuracy": 0.1 + step / 7, "val_loss": 1 / (1 + step)} for step in range(epochs)}
    return Finished(**({"key": key, "params": {"policy": "lamp"}, "epochs": curve, "metrics": {"best": 0.7}} | changed))


def tell(tracker: Tracker, trial: Finished, steps: range | None = None) -> None:
    tracker.started(trial.key, trial.params)
    for step in steps or trial.epochs:
        tracker.epoch(trial.key, step, trial.epochs[step])
    if steps is None:
        tracker.finished(trial.key, trial.metrics, trial.status, trial.tags)


def test_a_study_and_its_trials_are_read_back(database: str, tmp_path: Path) -> None:
    warnings: list[str] = []
    table = tmp_path / "table.csv"
    table.write_text("policy,accuracy\n")
    settings = {"name": "digits", "space": {"sparsity": [0.5, 0.9]}, "many": {str(n): n for n in range(250)}}
    tracker = Tracker(database, "whole", settings, warn=warnings.append)
    trials = [record("a"), record("b", status="FAILED", tags={"error": "loss is NaN"}), record("c", epochs=0)]
    for trial in trials:
        tell(tracker, trial)
    tracker.epoch("d", 4, {"val_loss": float("nan"), "val_accuracy": 0.5})
    tracker.summary([table], {"headline": 0.25})
    tracker.close()
    seen = Seen(database, "whole")
    assert all(seen.holds_once(trial) for trial in trials)
    assert seen.trials["b"].data.tags["error"] == "loss is NaN"
    assert seen.points("d") == {"val_accuracy": [(4, 0.5)]}
    assert seen.trials["d"].info.status == "KILLED"  # it had not ended when the study ended
    assert (seen.parent.info.status, seen.parent.data.metrics) == ("FINISHED", {"headline": 0.25})
    assert seen.parent.data.params["space.sparsity"] == "[0.5, 0.9]"
    assert len(seen.parent.data.params) == 252
    assert [file.path for file in seen.client.list_artifacts(seen.parent.info.run_id)] == ["table.csv"]
    assert seen.parent.info.artifact_uri.startswith(str(Path(database.removeprefix("sqlite:///")).with_name("files")))
    assert not warnings


def test_a_resumed_study_goes_on_with_its_runs_and_writes_each_point_once(database: str) -> None:
    trial, warnings = record("a", epochs=4), list[str]()
    first = Tracker(database, "resumed", {"epochs": 4}, warn=warnings.append)
    tell(first, trial, range(2))
    first.close()
    before = Seen(database, "resumed")
    assert (before.parent.info.status, before.trials["a"].info.status) == ("FINISHED", "KILLED")
    second = Tracker(database, "resumed", {"epochs": 5, "new": 1}, warn=warnings.append)
    tell(second, replace(trial, params={"policy": "renamed"}), range(1, 4))  # its checkpoint was an epoch behind
    until(lambda: shows(database, "resumed", "a", 4))
    during = Seen(database, "resumed")
    assert (during.parent.info.status, during.trials["a"].info.status) == ("RUNNING", "RUNNING")
    second.finished("a", trial.metrics, "FINISHED")
    second.backfill([trial])
    second.close()
    after = Seen(database, "resumed")
    assert after.holds_once(trial)
    assert after.parent.info.run_id == before.parent.info.run_id
    assert after.trials["a"].info.run_id == before.trials["a"].info.run_id
    assert after.parent.data.params == {"epochs": "4", "new": "1"}
    assert not warnings


def test_a_resumed_trial_is_not_called_finished_without_its_record(database: str) -> None:
    """Its earlier process may have died before it wrote all points."""
    trial, warnings = record("a"), list[str]()
    for steps in (range(1), range(2, 3)):
        tracker = Tracker(database, "gap", {}, warn=warnings.append)
        tell(tracker, trial, steps)
        if steps.start:
            tracker.finished("a", trial.metrics, "FINISHED")
        tracker.close()
    assert Seen(database, "gap").trials["a"].info.status == "KILLED"
    assert len(warnings) == 1
    assert "missing a " in warnings[0]
    tracker = Tracker(database, "gap", {}, warn=warnings.append)
    tracker.backfill([trial])
    tracker.close()
    assert Seen(database, "gap").holds_once(trial)
    assert len(warnings) == 1


def test_each_run_has_its_data_set_once_among_its_inputs(database: str) -> None:
    """Two runs write a trial: the first starts it, the second ends it and backfills another."""
    files, library = UsedData("folder", "0123456789abcdef" * 2, "/images"), UsedData("digits", "digits", "")
    trial, warnings = record("a", data=files), list[str]()
    for steps in (range(1), range(1, 3)):
        tracker = Tracker(database, "inputs", {}, warn=warnings.append, data=files, tags={"howcompact.model": "vgg16"})
        tracker.started("a", trial.params, data=files)
        for step in steps:
            tracker.epoch("a", step, trial.epochs[step])
        if steps.start:
            tracker.backfill([trial, record("b", data=library), record("c")])
        tracker.close()
    seen = Seen(database, "inputs")
    assert all(seen.holds_once(each) for each in (trial, record("b"), record("c")))
    assert seen.parent.data.tags["howcompact.model"] == "vgg16"
    runs = [seen.parent, *(seen.trials[key] for key in "abc")]
    inputs = [data_sets_of(seen.client.get_run(run.info.run_id)) for run in runs]
    assert [len(own) for own in inputs] == [1, 1, 1, 0]
    of_trial, of_library = inputs[1][0], inputs[2][0]
    assert (of_trial.dataset.name, of_trial.dataset.digest) == (files.name, files.digest)
    assert [(tag.key, tag.value) for tag in of_trial.tags] == [("mlflow.data.context", "training")]
    assert mlflow.data.get_source(of_trial).to_dict() == {"uri": "/images"}
    assert mlflow.data.get_source(of_library).to_dict() == {"tags": {"library": "digits"}}
    assert not warnings


def test_backfilling_twice_adds_and_moves_nothing(database: str) -> None:
    trials = [record("a"), record("b", status="KILLED"), record("c", status="FAILED", epochs=0, metrics={})]
    ends = []
    for _ in range(2):
        tracker = Tracker(database, "twice", {}, warn=pytest.fail)
        tracker.backfill(iter(trials))
        tracker.backfill(trials)
        tracker.close()
        seen = Seen(database, "twice")
        assert all(seen.holds_once(trial) for trial in trials)
        ends.append([seen.trials[trial.key].info.end_time for trial in trials])
    assert ends[0] == ends[1]


def test_dropped_events_are_restored_from_the_record(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.tracking.tracker.MOST_WAITING", 5)  # a trial's three epochs of two points do not fit
    trial = record("a")
    tracker = Tracker(database, "full", {}, warn=pytest.fail)
    tell(tracker, trial)
    tracker.backfill([trial])
    tracker.close()
    assert Seen(database, "full").holds_once(trial)


def test_what_mlflow_refuses_or_cannot_be_read_does_not_block_the_rest(database: str, tmp_path: Path) -> None:
    def broken() -> Iterator[Finished]:
        yield record("read")
        raise OSError("the folder is gone")

    warnings: list[str] = []
    tracker = Tracker(database, "refused", {}, warn=warnings.append)
    tracker.backfill(broken())
    tracker.backfill([record("bad", metrics={"/up": 1.0}), record("good")])
    tracker.summary([tmp_path / "absent.svg"], {})
    tracker.close()
    seen = Seen(database, "refused")
    assert seen.holds_once(record("read"))
    assert seen.holds_once(record("good"))
    assert seen.trials["bad"].info.status == "KILLED"
    assert len(warnings) == 1
    assert "missing bad, the summary, unreadable records" in warnings[0]


def test_tracking_nothing_does_nothing() -> None:
    tracker = Tracker(None, "off", {}, warn=pytest.fail)
    tell(tracker, record("a"))
    tracker.backfill(pytest.fail("read") for _ in range(1))
    tracker.summary([Path("absent")], {})
    tracker.close()
