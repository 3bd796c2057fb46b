"""Waits for something that another process does."""

import time
from collections.abc import Callable
from typing import Any

LIMIT = 600  # seconds that a command may take: several times what it takes beside another test on two cores


def until(look: Callable[[], Any], seconds: float = 15) -> Any:
    """Call `look` until it returns something true; return that. Fails after that many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing was found within {seconds:g} s"
        time.sleep(0.02)
    return found
