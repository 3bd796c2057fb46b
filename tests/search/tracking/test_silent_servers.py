"""Tracking servers that never answer: one warning, and no waiting."""

import socket

import pytest

from search.tracking.tracker import Tracker
from tests.search.mlflow_server import seconds_of
from tests.search.tracking.test_tracker import record, tell
from tests.search.waiting import until


@pytest.mark.parametrize("listens", [True, False], ids=["hung", "absent"])
def test_a_server_that_never_answers_costs_one_warning(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    warnings: list[str] = []
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        if listens:
            deaf.listen(16)
        uri = f"http://user:secret@127.0.0.1:{deaf.getsockname()[1]}"
        tracker = Tracker(uri, "unheard", {}, warn=warnings.append)
        until(lambda: len(warnings) == 1)  # early, not at the end of a long study
        assert seconds_of(lambda: tell(tracker, record("a"))) < 0.05
        tracker.backfill([record("a")])
        assert seconds_of(lambda: tracker.close(10)) < 5
        assert seconds_of(lambda: tracker.close(0)) < 0.05
    assert len(warnings) == 1
    assert "does not answer" in warnings[0]
    assert "secret" not in warnings[0]


def test_closing_gives_up_in_time_on_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    warnings: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        tracker = Tracker(f"http://127.0.0.1:{deaf.getsockname()[1]}", "late", {}, warn=warnings.append)
        tell(tracker, record("a"))
        assert seconds_of(lambda: tracker.close(0.5)) < 1
        assert len(warnings) == 1
        assert "missing a (not done in 0.5 s)" in warnings[0]
        until(lambda: not tracker._thread.is_alive())
