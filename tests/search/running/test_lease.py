"""A study has one run at a time, however that run ends, on local folders and on other storage."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from search.running import lease
from search.running.lease import LEASE, Holder, Lease
from tests.search.waiting import until
from tests.trainables.storage.test_folder import Elsewhere
from trainables.storage.folder import Folder

BEAT, STALE = 0.05, 1.0

HOLDER = f"""
import sys, time
from search.running import lease
from trainables.storage.folder import Folder
lease.BEAT, lease.STALE = {BEAT}, {STALE}
with lease.Lease(Folder.at(sys.argv[1]), print) as held:
    print("holds", flush=True)
    while True:
        time.sleep(0.01)
        held.check()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", BEAT)
    monkeypatch.setattr(lease, "STALE", STALE)


@pytest.fixture(params=["local", "elsewhere"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path)) if request.param == "local" else Elsewhere(str(tmp_path))


@pytest.fixture
def local(tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path))


@contextmanager
def holder_in_another_process(folder: Folder) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, folder.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def seconds_to_take(folder: Folder, warn: Callable[[str], None]) -> float:
    begun = time.monotonic()
    with Lease(folder, warn):
        return time.monotonic() - begun


def left_behind(folder: Folder, machine: str) -> Holder:
    """Write the lease of a run that has ended. It has the process number of this living process."""
    holder = Holder.here().model_copy(update={"machine": machine, "host": "far"})
    folder.write(LEASE, holder.model_dump_json().encode())
    return holder


def test_second_run_is_refused_with_who_holds_it_and_since_when(folder: Folder) -> None:
    with Lease(folder, pytest.fail) as first:
        with pytest.raises(ValueError, match="a study must have one run at a time") as refusal:
            seconds_to_take(folder, pytest.fail)
        message = str(refusal.value)
        assert f"process {os.getpid()} on {os.uname().nodename}, which began at 20" in message
        assert folder.uri in message
        assert "wait for it, stop it, or give this run another --name" in message
        first.check()
    assert not folder.has(LEASE)
    assert seconds_to_take(folder, pytest.fail) < STALE / 2


def test_run_of_a_dead_process_of_this_machine_is_replaced_at_once(local: Folder) -> None:
    with holder_in_another_process(local) as holder:
        holder.kill()
        until(lambda: " Z " in Path(f"/proc/{holder.pid}/stat").read_text())  # a zombie: no process has waited for it
        assert local.has(LEASE)
        assert seconds_to_take(local, pytest.fail) < STALE / 2


@pytest.mark.parametrize("machine", ["another boot", ""])
def test_run_of_another_machine_that_does_not_renew_is_replaced_after_a_while(
    folder: Folder, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not machine:
        monkeypatch.setattr(lease, "_machine", str)  # a system without a machine id
    warnings: list[str] = []
    left_behind(folder, machine)
    assert seconds_to_take(folder, warnings.append) > STALE
    assert len(warnings) == 1
    assert "does not renew its lease; waiting 1 s until it counts as gone" in warnings[0]


def test_run_of_another_machine_that_renews_its_lease_is_not_replaced(folder: Folder) -> None:
    holder = left_behind(folder, "another boot")
    renewed = holder.model_copy(update={"beat": 1}).model_dump_json().encode()
    begun = time.monotonic()
    threading.Timer(BEAT, folder.write, (LEASE, renewed)).start()
    with pytest.raises(ValueError, match="on far"):
        seconds_to_take(folder, pytest.fail)
    assert BEAT <= time.monotonic() - begun < STALE
    assert folder.read(LEASE) == renewed


def test_damaged_lease_is_replaced_after_a_while(folder: Folder) -> None:
    folder.write(LEASE, b'{"run": ')
    warnings: list[str] = []
    assert seconds_to_take(folder, warnings.append) > STALE
    assert len(warnings) == 1


def test_run_that_slept_and_was_replaced_stops(local: Folder) -> None:
    with holder_in_another_process(local) as holder:
        holder.send_signal(signal.SIGSTOP)
        warnings: list[str] = []
        with Lease(local, warnings.append) as successor:
            holder.send_signal(signal.SIGCONT)
            _, error = holder.communicate(timeout=10)
            time.sleep(4 * BEAT)
            successor.check()
            assert local.has(LEASE), "a replaced run must not remove the new lease"
    assert len(warnings) == 1
    assert f"has taken this one over, as this run did not renew its lease for {STALE:.0f} s" in error
    assert f"process {os.getpid()} on" in error


def test_of_two_that_take_it_at_once_one_goes_on(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.running.lease.active_holder", lambda *_: None)  # each looks before the other writes
    with Lease(folder, pytest.fail) as first, Lease(folder, pytest.fail) as second:
        until(lambda: first._successor or second._successor)
        time.sleep(4 * BEAT)
        (replaced,) = [each for each in (first, second) if each._successor]
        with pytest.raises(ValueError, match="has taken this one over"):
            replaced.check()


def test_storage_that_fails_for_a_while_costs_nobody_the_lease(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(folder, pytest.fail) as held:
        with monkeypatch.context() as patch:
            patch.setattr(type(folder), "read", lambda *_: (_ for _ in ()).throw(OSError("away")))
            time.sleep(4 * BEAT)
        beat = Holder.model_validate_json(folder.read(LEASE)).beat
        until(lambda: Holder.model_validate_json(folder.read(LEASE)).beat > beat)
        held.check()
