"""Tracking servers that die, pause or lose the experiment: one warning, and nothing is lost in the end."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

from search.tracking import tracker
from search.tracking.tracker import Tracker
from tests.search.mlflow_server import Seen, Server, seconds_of, shows
from tests.search.tracking.test_tracker import record, tell
from tests.search.waiting import until


def test_a_server_that_dies_costs_one_warning_and_the_next_run_restores_all(server: Server, tmp_path: Path) -> None:
    trials, warnings = [record(key) for key in "abc"], list[str]()
    page = tmp_path / "page.html"
    page.write_text("<html/>")
    first = Tracker(server.uri, "dies", {"seeds": 3}, warn=warnings.append)
    tell(first, trials[0])
    tell(first, trials[1], range(1))
    until(lambda: shows(server.uri, "dies", "a") and shows(server.uri, "dies", "b"))  # while the study runs
    server.kill()
    slowest = max(seconds_of(partial(tell, first, trial)) for trial in trials[1:])
    time.sleep(1.5 * tracker.GATHER_SECONDS)  # the writer tries the dead server
    slowest = max(slowest, seconds_of(lambda: tell(first, record("d"))), seconds_of(lambda: first.backfill(trials)))
    assert slowest < 0.05
    assert seconds_of(first.close) < 5
    assert len(warnings) == 1
    assert "missing b, c, d (ConnectionRefusedError" in warnings[0]  # a was written before the server died

    server.start()
    second = Tracker(server.uri, "dies", {"seeds": 3}, warn=warnings.append)
    second.backfill([*trials, record("d")])
    second.summary([page], {"trials": 4})
    second.close()
    seen = Seen(server.uri, "dies")
    assert all(seen.holds_once(trial) for trial in [*trials, record("d")])
    assert (seen.parent.info.status, seen.parent.data.metrics) == ("FINISHED", {"trials": 4})
    assert [file.path for file in seen.client.list_artifacts(seen.parent.info.run_id)] == ["page.html"]
    assert len(warnings) == 1


def test_a_server_that_pauses_is_used_again_and_nothing_is_lost(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # the user's own setting is kept
    trials = [record(key) for key in "ab"]
    tracker = Tracker(server.uri, "pauses", {}, warn=pytest.fail)
    tell(tracker, trials[0], range(1))
    until(lambda: shows(server.uri, "pauses", "a"))
    server.signal(signal.SIGSTOP)
    try:
        assert max(seconds_of(partial(tell, tracker, trial)) for trial in trials) < 0.05
        time.sleep(3)  # long enough for the writer to give up once
    finally:
        server.signal(signal.SIGCONT)
    until(lambda: shows(server.uri, "pauses", "b"))  # without a record
    tracker.backfill(trials)
    tracker.close()
    seen = Seen(server.uri, "pauses")
    assert all(seen.holds_once(trial) for trial in trials)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own query of its database
def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(tmp_path: Path) -> None:
    uri, warnings = f"sqlite:///{tmp_path / 'two words.db'}", list[str]()
    Tracker(uri, "before", {}, warn=pytest.fail).close()
    client = MlflowClient(uri)
    (experiment,) = [each for each in client.search_experiments() if each.name == "howcompact"]
    client.delete_experiment(experiment.experiment_id)
    tracker = Tracker(uri, "after", {}, warn=warnings.append)
    tracker.backfill([record("a")])
    tracker.close()
    (warning,) = warnings
    assert "experiment 'howcompact' must not be deleted, but is" in warning
    command = warning.partition("restore it: ")[2].partition(")")[0]
    program = Path(sys.executable).with_name("mlflow")
    subprocess.run(command.replace(" mlflow ", f" {program} "), shell=True, check=True, capture_output=True)
    tracker = Tracker(uri, "after", {}, warn=pytest.fail)
    tracker.backfill([record("a")])
    tracker.close()
    assert Seen(uri, "after").holds_once(record("a"))
