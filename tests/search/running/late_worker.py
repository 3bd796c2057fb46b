"""A module that Ray's workers import at their start. All but the first of them take longer than several trials."""

import os
import time
from itertools import count
from pathlib import Path

STARTS = "STARTS_OF_WORKERS"  # variable with a folder
CORES = os.cpu_count() or 1
QUICK = CORES + 1  # Ray starts one on each core; no trial may run where a task has run, so the next one is for trials
SECONDS = 2.0


def place() -> int:
    """Take the next free number: a file for each worker."""
    for number in count():
        try:
            os.close(os.open(Path(os.environ[STARTS]) / str(number), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return number
    raise AssertionError


if STARTS in os.environ and place() >= QUICK:
    time.sleep(SECONDS)
