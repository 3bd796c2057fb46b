"""A Ray cluster on this machine whose nodes are process groups that tests may kill."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from tests.search.ports import free_port
from tests.search.waiting import until

ENVIRONMENT = {"RAY_AUTH_MODE": "disabled"}  # of every process that connects to the cluster


class Nodes:
    """A head that runs no trials, and nodes that run trials; none has a dashboard."""

    def __init__(self, folder: str) -> None:
        self._port, self._folder = free_port(), folder
        self.address = f"127.0.0.1:{self._port}"
        self._all: list[subprocess.Popen[bytes]] = []
        self._start("--head", f"--port={self._port}", f"--temp-dir={folder}", "--include-dashboard=false", cpus=0)
        until(self._answers, 60)

    def _answers(self) -> bool:
        assert self._all[0].poll() is None, "the head ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False

    @property
    def head(self) -> int:
        """Process id of the head, which leads its session."""
        return self._all[0].pid

    def add(self, cpus: int) -> subprocess.Popen[bytes]:
        """Start a node; it joins within seconds."""
        return self._start(f"--address={self.address}", cpus=cpus)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Kill a node with all its processes, as a cloud does with a spot machine."""
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for node in self._all:
            if node.poll() is None:
                self.kill(node)

    def _start(self, *options: str, cpus: int) -> subprocess.Popen[bytes]:
        names = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port")
        ports = [f"--{name}={free_port()}" for name in (*names, "runtime-env-agent-port")]
        limits = [f"--num-cpus={cpus}", "--num-gpus=0", "--object-store-memory=200000000", "--min-worker-port=0"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *limits]
        node = subprocess.Popen(
            [*command, "--max-worker-port=0", "--node-ip-address=127.0.0.1", *ports, *options],
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._all.append(node)
        return node


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Run a cluster inside this context."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hc", ignore_cleanup_errors=True))
        nodes = Nodes(folder)
        stack.callback(nodes.close)
        yield nodes
