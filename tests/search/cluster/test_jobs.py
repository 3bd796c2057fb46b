"""Studies as jobs on a real Ray head of this machine, which asks for a token as the one of cluster.yaml does."""

import json
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ray._private.authentication_test_utils import reset_auth_token_state
from ray.job_submission import JobSubmissionClient

from search.cluster import jobs
from search.results.folder import StudyFolder
from search.study.reading import read_study
from tests.search.conftest import COMMAND, FEW, howcompact
from tests.search.heads import authentication, head
from tests.search.ports import free_port
from tests.search.tunnel import Cuttable
from tests.search.waiting import until


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with head("--num-cpus=2", "--num-gpus=0") as url:
        yield url


def start(address: str, entrypoint: str, runtime_env: dict[str, str] | None = None) -> str:
    """Start a job that is no study."""
    return str(
        JobSubmissionClient(address).submit_job(
            entrypoint=entrypoint,
            submission_id=f"howcompact-test-{secrets.token_hex(3)}",
            runtime_env=dict(runtime_env or {}),
        )
    )


def test_all_complaints_come_at_once_and_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean") as refusal:
        jobs.submit(
            "digits",
            f"http://127.0.0.1:{free_port()}",
            "studies",
            overrides=["policies=[unifrom]", "data={name: folder, path: images}"],
        )
    lines = str(refusal.value).splitlines()
    assert len(lines) == 3
    for line, start_of_line in zip(
        lines, ("policy must be", "data.path must be absolute", "storage must"), strict=True
    ):
        assert line.startswith(start_of_line)


def test_address_that_nobody_answers_is_refused_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (free_port(), silent.getsockname()[1], "dashboard"):
            begun = time.monotonic()
            with pytest.raises(ValueError, match=r"address must answer.*ray dashboard") as refusal:
                jobs.jobs(f"http://127.0.0.1:{port}")
            assert time.monotonic() - begun < 3
            assert len(str(refusal.value).splitlines()) == 1


def test_address_of_something_else_is_refused() -> None:
    server = HTTPServer(("127.0.0.1", 0), type("Else", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ValueError, match="address must be the dashboard of a Ray cluster"):
            jobs.jobs(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(ValueError, match=r"must be that of a dashboard.*'auto'"):
        jobs.jobs("auto")


def test_address_is_not_silently_replaced_by_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert isinstance(jobs.jobs(f"{address}/"), list)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(ValueError, match="RAY_ADDRESS must match"):
        jobs.jobs(address)


def test_wrong_token_is_refused_with_what_to_do(address: str) -> None:
    with (
        authentication(secrets.token_hex(32)),
        pytest.raises(ValueError, match=r"RAY_AUTH_MODE=token here and put the token of the cluster"),
    ):
        jobs.jobs(address)
    reset_auth_token_state()


def outcomes(storage: Path) -> dict[str, int]:
    """When each trial that has ended wrote its outcome."""
    return {path.parent.name: path.stat().st_mtime_ns for path in storage.glob("far/trials/*/outcome.json")}


def test_submitted_study_runs_on_the_cluster_and_goes_on_when_it_is_stopped_and_submitted_again(
    address: str, tmp_path: Path, own_model: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage, where = tmp_path / "storage", ("--address", address)
    overrides = [
        *FEW,
        f"models=['{own_model}']",
        "resources.cpus=2",
        "sparsities=[0.3, 0.4, 0.5, 0.6, 0.7, 0.8]",
    ]  # one by one
    stopped = jobs.submit("digits", address, str(storage), overrides=overrides, name="far")
    assert stopped.startswith("howcompact-far-")
    with pytest.raises(ValueError, match=f"one run at a time, but {stopped} is running"):
        jobs.submit("digits", address, str(storage), overrides=overrides, name="far")
    until(lambda: outcomes(storage), 120)
    jobs.stop(address, stopped)
    kept = outcomes(storage)
    assert 0 < len(kept) < 6

    again = ("submit", "digits", "--name", "far", "--storage", str(storage), *where, "--set", *overrides)
    told = howcompact(*again, "--follow", "--json", cwd=tmp_path)
    ended = json.loads(told.stdout)
    assert (told.returncode, ended["status"]) == (0, "SUCCEEDED"), told.stderr
    assert f"{6 - len(kept)} trials to run" in told.stderr
    assert outcomes(storage).items() >= kept.items()
    folder = StudyFolder.open(str(storage / "far"))
    assert [(row.status, row.model, row.epochs) for row in folder.rows()] == [("done", own_model, 2)] * 6
    assert folder.study.contents.keys() == {own_model}  # the model's fingerprint, which the run has found
    assert folder.study.model_copy(update={"contents": {}}) == read_study("digits", overrides, "far")

    job, *lines, last = told.stderr.splitlines()
    assert (job, last) == (ended["job"], f"{job}: SUCCEEDED")
    assert any("study folder" in line and str(storage / "far") in line for line in lines)
    assert jobs.logs(address, job) == "\n".join(lines)
    listed = json.loads(howcompact("jobs", *where, "--json", cwd=tmp_path).stdout)["jobs"]
    newer, older = (known for known in listed if known["study"] == "far")
    assert (newer["id"], newer["status"], newer["storage"]) == (job, "SUCCEEDED", str(storage))
    assert (older["id"], older["status"]) == (stopped, "STOPPED")
    assert older["started"] < older["ended"] < newer["started"] < newer["ended"] < time.time() < older["started"] + 3600
    assert howcompact("logs", stopped, *where, "--follow", cwd=tmp_path).returncode == 1
    assert not caplog.records, "submitting and following are to be quiet"


def test_following_goes_on_where_a_lost_connection_broke(address: str) -> None:
    job = start(address, "for i in $(seq 0 19); do echo line $i; sleep 0.15; done; printf end; exit 3")
    lines: list[str] = []
    cuts = 0
    with Cuttable(address) as tunnel:
        threading.Thread(target=tunnel.serve_forever, daemon=True).start()

        def hear(line: str) -> None:
            nonlocal cuts
            lines.append(line)
            if line in ("line 2", "line 10"):
                cuts += 1
                tunnel.cut()

        status = jobs.follow(f"http://127.0.0.1:{tunnel.server_address[1]}", job, hear)
        tunnel.shutdown()
    assert lines == [*(f"line {i}" for i in range(20)), "end"]
    assert status == "FAILED"
    assert cuts == 2


def interrupt_following(address: str, job: str) -> None:
    """Follow a job that has told a line, and press Ctrl-C."""
    command = [COMMAND, "logs", job, "--address", address, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "begun\n"
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=30)
    assert following.returncode == 130
    assert said == f"{job} still runs; follow it again: howcompact {' '.join(command[1:])}\n"


def test_following_gives_up_on_a_cluster_that_stays_away_and_the_job_goes_on_until_it_is_stopped(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 1.0)
    job = start(address, "echo begun && sleep 60")
    with Cuttable(address) as tunnel:
        threading.Thread(target=tunnel.serve_forever, daemon=True).start()

        def lose(line: str) -> None:
            tunnel.shutdown()
            tunnel.server_close()
            tunnel.cut()

        with pytest.raises(ValueError, match=f"must be reachable to follow {job}"):
            jobs.follow(f"http://127.0.0.1:{tunnel.server_address[1]}", job, lose)
    interrupt_following(address, job)
    (goes_on,) = [known for known in jobs.jobs(address) if known.id == job]
    assert (goes_on.status, goes_on.over) == ("RUNNING", False)
    jobs.stop(address, job)
    jobs.stop(address, job)
    lines: list[str] = []
    assert jobs.follow(address, job, lines.append) == "STOPPED"
    assert lines == ["begun"]


def test_the_node_itself_holds_no_howcompact(address: str) -> None:
    job = start(address, "python -c 'import search'")
    lines: list[str] = []
    assert jobs.follow(address, job, lines.append) == "FAILED"
    assert "ModuleNotFoundError: No module named 'search'" in lines


def test_job_that_cannot_start_tells_why(address: str) -> None:
    job = start(address, "true", {"working_dir": f"gcs://_ray_pkg_{'0' * 16}.zip"})
    lines: list[str] = []
    assert jobs.follow(address, job, lines.append) == "FAILED"
    assert "_ray_pkg_0000" in "\n".join(lines)


def test_unknown_job_is_refused(address: str) -> None:
    for ask in (jobs.logs, jobs.stop, lambda where, job: jobs.follow(where, job, print)):
        with pytest.raises(ValueError, match=r"job must be a job of the cluster, but got 'nobody'"):
            ask(address, "nobody")
