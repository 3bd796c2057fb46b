"""Kill what can be killed, fill the disk: the same command finishes the study, and nothing finished is done again."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from search.results.folder import StudyFolder
from search.running.lease import LEASE, Holder
from search.study.reading import read_study
from tests.search.conftest import howcompact
from tests.search.drivers import finish, start
from tests.search.in_process import run_in_process
from tests.search.nodes import ENVIRONMENT, cluster
from tests.search.searching.test_searcher import studies_in
from tests.search.waiting import until
from tests.trainables.trials import flip_a_byte
from trainables.checkpoints import artifact_store
from trainables.names import SEARCHED
from trainables.storage.folder import Folder

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
STUDY = ("digits", "--set", *SETTINGS)
TRIALS = 2 * 2 + 2 * 2
EPOCHS = 13  # the recalibrated network and twelve of fine-tuning


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Where the study is run; its storage is a small disk of its own where the system lets one be made."""
    storage = tmp_path / "howcompact-runs"
    storage.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", storage], capture_output=True)
    yield tmp_path
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", storage], check=True)


@contextmanager
def failing_storage(home: Path) -> Iterator[None]:
    """Fill the disk, or take the storage away where it is not a disk of its own."""
    storage, aside = home / "howcompact-runs", home / "aside"
    if storage.is_mount():
        with (storage / "fill").open("wb", buffering=0) as fill, suppress(OSError):
            while True:
                fill.write(bytes(4096))
        yield
        (storage / "fill").unlink()
    else:
        storage.rename(aside)
        storage.write_text("no folder")
        yield
        storage.unlink()
        aside.rename(storage)


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


def holder(home: Path) -> int | None:
    """The process that runs the study, as its lease tells."""
    lease = home / "howcompact-runs" / "digits" / LEASE
    return Holder.model_validate_json(lease.read_text()).pid if lease.exists() else None


def half_done(home: Path) -> bool:
    """Some trial has ended and some other is well on its way."""
    lengths = [len(history) for history in histories(home).values()]
    return EPOCHS in lengths and any(3 <= length <= EPOCHS - 3 for length in lengths)


def dense_keys() -> set[str]:
    return {trial.dense.key() for trial in read_study("digits", SETTINGS, None).trials()}


def undisturbed(home: Path) -> StudyFolder:
    """Run the named policies of the study where nothing happens."""
    return run_in_process(home, read_study("digits", SETTINGS, None))


def learned(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: told for name, told in epoch.items() if name != "seconds"} for epoch in history]


def workers_of(session: int) -> list[int]:
    """Processes of this session that run a trial."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(status.parent.name)
        try:
            if os.getsid(pid) == session and b"ray::" in status.read_bytes() and b"ImplicitFunc" in status.read_bytes():
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


def test_whoever_dies_the_same_command_goes_on_and_repeats_nothing(home: Path, tmp_path: Path) -> None:
    with start(home, *STUDY) as driver:
        until(lambda: any(histories(home).values()), 180)
        os.kill(driver.pid, signal.SIGTERM)  # which Ctrl-C's handler serves
        _, told = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert told.endswith("stopped; run the same command again to continue\n")
    until(lambda: not workers_of(driver.pid))
    flip_a_byte(next(home.glob("howcompact-runs/artifacts/dense/*/network.safetensors")))

    with start(home, *STUDY) as driver:
        until(lambda: half_done(home), 180)
        with failing_storage(home):
            _, told = driver.communicate(timeout=120)
    assert driver.returncode == 1
    (error,) = [line for line in told.splitlines() if not re.match(r" *\d+\.\d s  ", line)]  # the others are progress
    assert error.startswith("error: storage must work, but ")
    assert "run the same command again: it continues from here" in error
    until(lambda: not workers_of(driver.pid))
    without_storage = histories(home)
    (home / "howcompact-runs" / "digits" / "optuna.journal").write_text('{"op_code": ')

    with start(home, *STUDY) as driver:
        until(lambda: histories(home) != without_storage, 180)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait(60)
    time.sleep(1.0)  # until Ray's workers have seen that their driver is gone
    os.killpg(driver.pid, signal.SIGKILL)  # Ray's own processes, which nobody told to stop
    without_driver = histories(home)
    assert sum(map(len, without_driver.values())) < TRIALS * EPOCHS

    with cluster() as nodes, start(home, *STUDY, "--address", nodes.address, more=ENVIRONMENT) as again:
        spot = nodes.add(cpus=2)
        until(lambda: holder(home) == again.pid, 180)
        refused = howcompact("run", "digits", "--set", *SETTINGS, cwd=home)
        until(lambda: histories(home) != without_driver, 180)
        nodes.kill(spot)
        without_node = histories(home)
        other = nodes.add(cpus=2)
        (victim, *_) = until(lambda: workers_of(other.pid), 180)
        os.kill(victim, signal.SIGKILL)
        without_worker = histories(home)
        summary = finish(again)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: a study must have one run at a time, but process {again.pid} on ")
    assert summary["trials"]["done"] == TRIALS
    assert summary["trials"]["failed"] == 0
    for before in (without_storage, without_driver, without_node, without_worker):
        check_nothing_was_repeated(before, home)
    assert all(artifact_store.is_sound(Folder.at(str(home / "howcompact-runs")), "dense", key) for key in dense_keys())
    after = histories(home)
    for outcome in (whole := undisturbed(tmp_path / "undisturbed")).read_outcomes(whole.keys()):
        assert outcome.spec.policy != SEARCHED
        assert learned(after[outcome.spec.key()]) == learned([report.model_dump() for report in outcome.history])
