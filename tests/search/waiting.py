"""Waits for something that another process does."""

import time
from collections.abc import Callable
from typing import Any

LIMIT = 600  # seconds that a command may take: several times what it takes beside another test on two cores


def until(look: Callable[[], Any], seconds: float = 15) -> Any:
    """Call `look` until it returns something true; return that. Fails after that many seconds."""
    started = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - started
        assert waited < seconds, f"nothing was found within {seconds:g} s"
        time.sleep(min(0.02 + waited / 100, 0.1))  # a look may read many files, and takes time from what is awaited
    return found
