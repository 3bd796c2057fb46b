"""Kill what can be killed: the same command finishes the study, and nothing that was finished is done again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from search.results import StudyFolder
from tests.search.test_searcher import studies_in
from tests.search.waiting import until

SETTINGS = (
    "dense.epochs=2",
    "finetune.epochs=12",
    "sparsities=[0.8]",
    "seeds=[0,1]",
    "policies=[uniform,erk,searched]",
    "search.warm_start=[uniform]",
    "search.trials=3",
    "tracking=off",
)
TRIALS = 2 * 2 + 2 * 2
EPOCHS = 13  # the recalibrated network and twelve of fine-tuning


def start(home: Path) -> subprocess.Popen[str]:
    """Start the study in a process group of its own."""
    command = [str(Path(sys.executable).with_name("howcompact")), "run", "digits", "--json", "--set", *SETTINGS]
    return subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(driver: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the study's end."""
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    summary: dict[str, Any] = json.loads(out)
    return summary


def histories(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every trial's epochs as its outcome or its newest whole checkpoint tells them."""
    told = {}
    for trial in (home / "howcompact-runs" / "digits" / "trials").glob("*"):
        whole = [epoch / "record.json" for epoch in sorted(trial.glob("epoch-*")) if (epoch / "manifest.json").exists()]
        for source in [trial / "outcome.json", *reversed(whole)]:
            try:
                told[trial.name] = json.loads(source.read_text())["history"]
                break
            except FileNotFoundError:
                continue
    return told


def half_done(home: Path) -> bool:
    """Some trial has ended and some other is well on its way."""
    lengths = [len(history) for history in histories(home).values()]
    return EPOCHS in lengths and any(3 <= length <= EPOCHS - 3 for length in lengths)


def workers_of(driver: int) -> list[int]:
    """Processes of this session that run a trial."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(status.parent.name)
        try:
            if os.getsid(pid) == driver and b"ray::" in status.read_bytes() and b"ImplicitFunc" in status.read_bytes():
                found.append(pid)
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def check_nothing_was_repeated(before: dict[str, list[dict[str, Any]]], home: Path) -> None:
    """Epochs tell their own seconds, so an epoch that was run again is not the one of before."""
    after = histories(home)
    assert len(after) == TRIALS
    assert {len(history) for history in after.values()} == {EPOCHS}
    for trial, history in before.items():
        assert after[trial][: len(history)] == history
    journal = studies_in(StudyFolder.open(str(home / "howcompact-runs" / "digits"))).values()
    assert [[trial.state for trial in study.trials] for study in journal] == [[TrialState.COMPLETE] * 3] * 2
    assert {trial.user_attrs["trial"] for study in journal for trial in study.trials} < set(after)


def test_whoever_is_killed_the_same_command_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as driver:
        until(lambda: any(histories(tmp_path).values()), 90)
        os.kill(driver.pid, signal.SIGTERM)  # which Ctrl-C's handler serves
        _, told = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert told.endswith("stopped; the same command goes on from here\n")
    assert not workers_of(driver.pid)

    with start(tmp_path) as driver:
        until(lambda: half_done(tmp_path), 90)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait(60)
    time.sleep(1.0)  # until Ray's workers have seen that their driver is gone
    without_driver = histories(tmp_path)
    assert sum(map(len, without_driver.values())) < TRIALS * EPOCHS

    with start(tmp_path) as again:
        until(lambda: histories(tmp_path) != without_driver, 90)
        (victim, *_) = until(lambda: workers_of(again.pid), 90)
        os.kill(victim, signal.SIGKILL)
        without_worker = histories(tmp_path)
        summary = finish(again)
    assert summary["trials"]["done"] == TRIALS
    assert summary["trials"]["failed"] == 0
    check_nothing_was_repeated(without_driver, tmp_path)
    check_nothing_was_repeated(without_worker, tmp_path)
    os.killpg(driver.pid, signal.SIGKILL)  # Ray's own processes, which nobody told to stop
