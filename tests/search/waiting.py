"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import Any


def until(found: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait until there is something, and return it."""
    deadline = time.monotonic() + seconds
    while not (hit := found()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)
    return hit
