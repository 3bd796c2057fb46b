"""The head of a Ray cluster on this machine, with its dashboard. As with `ray up`, it requires a token."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from ray._private.authentication_test_utils import reset_auth_token_state

from tests.search.ports import free_port

WITHOUT_HOWCOMPACT = f"""
import sys
sys.path[:] = [folder for folder in sys.path if folder != {str(Path(__file__).parents[2])!r}]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
"""


@contextmanager
def authentication(token: str) -> Iterator[None]:
    """Use this token inside this context. Ray caches the token that it has read, so the cache is reset."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", token)
        patch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
        reset_auth_token_state()
        yield
    reset_auth_token_state()


@contextmanager
def head(*options: str, port: int | None = None, **variables: str) -> Iterator[str]:
    """Run a head in its own process group and folder, with this process as its client. Other Ray clusters go on.

    The head's Python cannot import howcompact, as on a node of a cluster. Yields the address of the dashboard.

    Args:
        options: options of `ray start`.
        port: port of the cluster; default: a free one.
        variables: environment variables. PYTHONPATH comes after the folder that hides howcompact.
    """
    dashboard = free_port()
    names = ("ray-client-server-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    ports = [f"--{name}={free_port()}" for name in (*names, "metrics-export-port", "runtime-env-agent-port")]
    ports += ["--min-worker-port=0", "--max-worker-port=0", f"--dashboard-port={dashboard}"]
    ports.append(f"--port={port or free_port()}")
    with ExitStack() as stack:
        stack.enter_context(authentication(secrets.token_hex(32)))
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | variables
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        session = stack.enter_context(tempfile.TemporaryDirectory(prefix="hc", ignore_cleanup_errors=True))
        (Path(session) / "sitecustomize.py").write_text(WITHOUT_HOWCOMPACT)
        environment["PYTHONPATH"] = os.pathsep.join([session, variables.get("PYTHONPATH", session)])
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
                *("--object-store-memory=200000000", f"--temp-dir={session}", "--node-ip-address=127.0.0.1"),
                *("--dashboard-host=127.0.0.1", *ports, *options),
            ],
            cwd=session,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{dashboard}"
            deadline = time.monotonic() + 60
            while not _answers(url):
                assert process.poll() is None, "the head ended"
                assert time.monotonic() < deadline, "the head does not answer"
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()  # it waits a while for running jobs, then ends all processes that it started
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        urlopen(f"{address}/api/version", timeout=1).close()
    except HTTPError as refusal:
        refusal.close()
    except OSError:
        return False
    return True
