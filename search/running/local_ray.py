"""A Ray of this machine alone starts without the services that only a cluster needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private import utils
from ray._private.node import Node

SERVICES = ("start_api_server", "start_monitor", "start_log_monitor")  # dashboard, autoscaler, follower of logs


@contextmanager
def without_services() -> Iterator[None]:
    """Let the Ray that starts inside this context leave out `SERVICES`; its agents import less, too.

    The services take 2.4 s of processor time, and Ray waits for them. It has no setting that leaves them out.
    """
    left_out: list[tuple[Any, str, Any]] = [(Node, name, lambda *_, **__: None) for name in SERVICES]
    left_out += [(utils, "get_dashboard_dependency_error", lambda: ImportError("the dashboard is left out"))]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in left_out]
    try:
        for owner, name, instead in left_out:
            setattr(owner, name, instead)
        yield
    finally:
        for owner, name, own in before:
            setattr(owner, name, own)
