"""Studies that run in a process group of their own, so that a test can kill one with all that it started."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.search.conftest import COMMAND, NOTHING
from tests.search.waiting import LIMIT, until


def start(home: Path, *arguments: str, more: Mapping[str, str] = NOTHING) -> subprocess.Popen[str]:
    """Start a study by the installed command. arguments: of `howcompact run`. more: as for `installed`."""
    return subprocess.Popen(
        [COMMAND, "run", *arguments, "--json"],
        cwd=home,
        env=os.environ | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(driver: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    """Wait for the study's end; return its summary. code: the exit code that it must have."""
    out, err = driver.communicate(timeout=LIMIT)
    assert driver.returncode == code, err
    summary: dict[str, Any] = json.loads(out)
    return summary


def kill_when(look: Callable[[], object], driver: subprocess.Popen[str]) -> str:
    """Kill a study and all its processes once `look` returns something true; return what it told on stderr."""
    until(lambda: look() or driver.poll() is not None, LIMIT)
    with suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGKILL)
    _, err = driver.communicate(timeout=LIMIT)
    return err
