"""What a run says stays to be read, in a terminal as in a file."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = """
from search.running.progress import Progress
from tests.search.reports import trial_row

with Progress() as progress:
    progress.say("data digits: 10 classes [a, b]")
    progress.planned(2)
    progress.ended(trial_row("uniform", 0.5, 0, 0.9, 2))
    progress.ended(trial_row("erk", 0.5, 0, 0.9, 2, status="failed", error="loss must stay finite"))
    progress.dropped(1, "search is exhausted")
"""
LINES = (
    *("data digits: 10 classes [a, b]", "2 trials to run", "search is exhausted"),
    "a trial of erk at sparsity 0.5 failed: loss must stay finite",
)


@pytest.mark.parametrize("terminal", [False, True])
def test_every_message_stays(terminal: bool) -> None:
    main, side = pty.openpty()
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", SAYS], stderr=side if terminal else subprocess.PIPE, env=environment, cwd=root
    ) as process:
        os.close(side)
        told = b""
        try:
            while piece := os.read(main, 65536) if terminal else process.stderr.read():  # type: ignore[union-attr]
                told += piece
        except OSError:  # the end of a terminal whose other side is closed
            pass
    os.close(main)
    assert process.returncode == 0
    for line in LINES:
        assert f"s  {line}" in told.decode()
