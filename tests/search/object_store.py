"""A real S3 server on loopback."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.search.ports import free_port


@contextmanager
def object_store(bucket: str, log: Path = Path("/dev/null")) -> Iterator[str]:
    """Serve a bucket inside this context; yields the URL of the endpoint. log: file for the server's access log."""
    pytest.importorskip("moto")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            _make_bucket(f"http://127.0.0.1:{port}/{bucket}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _make_bucket(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the object store does not answer"
            time.sleep(0.2)
