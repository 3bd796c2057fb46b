"""A cluster of two real nodes, one of which does not see a folder as the other does: no trial waits to find out."""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from search.reach import refuse_unreachable
from tests.search.conftest import FEW, installed
from tests.search.ports import free_port
from tests.search.test_jobs import authentication
from tests.search.waiting import until
from trainables.storage import Folder

APART = ("unshare", "--map-root-user", "--mount")  # a node with mounts of its own


@dataclass(frozen=True)
class TwoNodes:
    """Where the head is, and a folder that is another one on the second node."""

    address: str
    hidden: Path


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount anything: unshare --mount is refused")
    hidden, session = tmp_path_factory.mktemp("hidden"), tmp_path_factory.mktemp("s")
    address = f"127.0.0.1:{free_port()}"
    cover = [*APART, "sh", "-c", f'mount -t tmpfs none {hidden} && exec "$@"', "sh"]
    with ExitStack() as stack:
        stack.enter_context(authentication(secrets.token_hex(32)))
        head = ["--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={session}"]
        stack.callback(_end, _start([], head))
        until(lambda: _joined(address, 1), 60)
        stack.callback(_end, _start(cover, [f"--address={address}"]))
        until(lambda: _joined(address, 2), 60)
        yield TwoNodes(address, hidden)


def _start(before: list[str], arguments: list[str]) -> "subprocess.Popen[bytes]":
    names = (
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "metrics-export-port",
        "runtime-env-agent-port",
    )
    ports = [f"--{name}={free_port()}" for name in names] + ["--min-worker-port=0", "--max-worker-port=0"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--num-cpus=1"]
    command += ["--num-gpus=0", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1", *ports, *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*before, *command], env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def _end(node: "subprocess.Popen[bytes]") -> None:
    node.terminate()
    with suppress(subprocess.TimeoutExpired):
        node.wait(15)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def _joined(address: str, count: int) -> bool:
    from ray._raylet import GcsClient

    with suppress(Exception):
        return len(GcsClient(address=address).get_all_node_info(timeout=2)) == count
    return False


def test_a_folder_that_one_node_lacks_is_refused_with_the_node_and_a_remedy(nodes: TwoNodes, tmp_path: Path) -> None:
    ray.init(nodes.address, log_to_driver=False, include_dashboard=None)
    try:
        refuse_unreachable(Folder.at(str(tmp_path)))
        assert not list(tmp_path.iterdir())
        with pytest.raises(ValueError, match="storage must be a place that every node reaches") as refusal:
            refuse_unreachable(Folder.at(str(nodes.hidden)))
    finally:
        ray.shutdown()
    told = str(refusal.value)
    assert re.search(rf"{nodes.hidden} is not for [\d.]+ \(FileNotFoundError", told)
    assert "s3://bucket/studies" in told
    assert not list(nodes.hidden.iterdir())


def test_a_study_there_ends_before_its_first_trial(nodes: TwoNodes, tmp_path: Path) -> None:
    study = ["run", "digits", "--storage", str(nodes.hidden), "--address", nodes.address, "--set", *FEW]
    done = installed(*study, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "error: storage must be a place that every node reaches" in done.stderr
    assert {path.name for path in nodes.hidden.rglob("*")} == {"digits", "study.json"}
