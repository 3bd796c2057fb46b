"""Hundreds of short trials on a cluster of this machine whose processes are killed at random: what is lost, what stays?

    python -m tests.benchmarks.soak [--trials N] [--seconds-between-kills S] [--seed N] [--compared N]

It kills workers, drivers and the only node with trials by SIGKILL, and drivers also by SIGTERM. It replaces a killed
node, and runs the same command again until the command ends by itself.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from search.results.folder import OUTCOME, SPEC, STUDY, StudyFolder
from search.results.rows import TABLE
from search.study.reading import read_study
from search.study.spec import StudySpec
from tests.search.nodes import ENVIRONMENT, Nodes, cluster
from tests.search.test_faults import learned, workers_of
from tests.trainables.trials import CPU, make_shared
from trainables.data import sources
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import run_trial

KILLED = {
    "worker": 9,
    "driver": 1,
    "driver, SIGTERM": 1,
    "node": 1,
}  # what is killed -> how often, relative to the others
POLICIES = ("uniform", "erk", "igq", "lamp", "global")
CPUS = 2
ENDS = {-signal.SIGKILL, -signal.SIGTERM, 130}  # exit codes of killed drivers; -SIGTERM before it connects to Ray


def main() -> None:
    """Run the study to its end under kills, and print a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seconds-between-kills", type=float, default=15.0, help="mean of the pauses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compared", type=int, default=20, help="trials that run again without kills, to compare")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    sparsities = options.trials // (2 * len(POLICIES))
    settings = [
        *("dense.epochs=2", "finetune.epochs=1", "tracking=off", "seeds=[0,1]", f"policies=[{','.join(POLICIES)}]"),
        f"sparsities={json.dumps([round(0.4 + 0.55 * i / sparsities, 4) for i in range(sparsities)])}",
    ]
    study = read_study("digits", settings, "soak")
    with tempfile.TemporaryDirectory() as home, cluster() as nodes:
        run = Run(Path(home), settings, nodes, rng)
        run.to_the_end(options.seconds_between_kills)
        folder = StudyFolder.open(f"{home}/howcompact-runs/soak")
        report: dict[str, Any] = {
            "seconds": round(time.monotonic() - run.began),
            "killed": dict(run.killed),
            "drivers": len(run.drivers),
            "processes left by drivers": [pid for driver in run.drivers for pid in session(driver)],
            "over time": run.samples,
            "temporary files left": len(list(run.scratch.iterdir())),
            **left_over(study, folder),
            "different": different(rng.sample(study.trials(), options.compared), folder, Folder.at(f"{home}/alone")),
        }
    print(json.dumps(report, indent=1))


class Run:
    """A study on a cluster. Its command runs again whenever its driver has ended."""

    def __init__(self, home: Path, settings: list[str], nodes: Nodes, rng: random.Random) -> None:
        howcompact = str(Path(sys.executable).with_name("howcompact"))
        self._command = [howcompact, "run", "digits", "--name", "soak", "--address", nodes.address, "--set", *settings]
        self._home, self._nodes, self._rng = home, nodes, rng
        self._node = nodes.add(CPUS)
        self.scratch = home / "tmp"
        self.scratch.mkdir()
        self.began = time.monotonic()
        self.killed: Counter[str] = Counter()
        self.drivers: list[int] = []
        self.samples: list[dict[str, int]] = []

    def to_the_end(self, pause: float) -> None:
        """Go on until a driver ends by itself. pause: mean seconds between two kills."""
        driver = self._start()
        due = sampled = time.monotonic() + self._rng.expovariate(1 / pause)
        while (ended := driver.poll()) != 0:
            if ended is not None:
                assert ended in ENDS, (self._home / "stderr").read_text()[-2000:]
                driver = self._start()
            if time.monotonic() > due:
                self._kill(driver)
                due = time.monotonic() + self._rng.expovariate(1 / pause)
            if time.monotonic() > sampled + 60:
                self._sample(driver.pid)
                sampled = time.monotonic()
            time.sleep(0.1)
        self._sample(driver.pid)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._home / "stderr").open("ab") as errors:
            driver = subprocess.Popen(
                self._command,
                cwd=self._home,
                env=os.environ | ENVIRONMENT | {"TMPDIR": str(self.scratch)},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.drivers.append(driver.pid)
        return driver

    def _kill(self, driver: subprocess.Popen[bytes]) -> None:
        (who,) = self._rng.choices(list(KILLED), list(KILLED.values()))
        if who == "node":
            self._nodes.kill(self._node)
            self._node = self._nodes.add(CPUS)
        elif who != "worker":
            driver.send_signal(signal.SIGTERM if "SIGTERM" in who else signal.SIGKILL)
        elif workers := workers_of(self._node.pid):
            os.kill(self._rng.choice(workers), signal.SIGKILL)
        else:
            return
        self.killed[who] += 1

    def _sample(self, driver: int) -> None:
        storage = self._home / "howcompact-runs"
        files = sizes(storage)
        self.samples.append(
            {
                "seconds": round(time.monotonic() - self.began),
                "trials ended": len(list(storage.glob(f"soak/trials/*/{OUTCOME}"))),
                "files": len(files),
                "MiB of files": sum(files) >> 20,
                "MiB of the head": sum(map(proportional_mib, session(self._nodes.head))),
                "MiB of the driver": proportional_mib(driver),
            }
        )


def sizes(top: Path) -> list[int]:
    """Return the bytes of every file under a folder. Files may come and go meanwhile."""
    bytes_of_files = []
    for folder, _, names in os.walk(top):
        for name in names:
            with suppress(FileNotFoundError):
                bytes_of_files.append(os.stat(os.path.join(folder, name)).st_size)
    return bytes_of_files


def session(leader: int) -> list[int]:
    """Return the ids of the processes of a session."""
    every = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in every if _session_of(pid) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def proportional_mib(pid: int) -> int:
    """Return the proportional set size of a process in MiB; 0 if the process has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # the process has ended
        return 0
    return next((int(line.split()[1]) >> 10 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def left_over(study: StudySpec, folder: StudyFolder) -> dict[str, Any]:
    """Report which trials of a study are missing or double, and which files of its storage nothing needs."""
    expected = {spec.key() for spec in study.trials()}
    rows = folder.rows()
    done = Counter(row.trial for row in rows if row.status == "done")
    home = Path(folder.folder.uri)
    needed = {
        *(home / STUDY, home / TABLE, home / "optuna.journal"),
        *(home / "trials" / row.trial / name for row in rows for name in (SPEC, OUTCOME)),
        *(path for row in rows for path in (home / "trials" / row.trial / f"epoch-{row.best_epoch:05d}").glob("[!.]*")),
    }
    for pointer in home.parent.glob("artifacts/dense/*.json"):
        needed |= {pointer, *(pointer.parent / json.loads(pointer.read_text())["folder"]).glob("[!.]*")}
    every = {path for path in home.parent.rglob("*") if path.is_file()}
    return {
        "trials": len(expected),
        "missing": len(expected - done.keys()),
        "double": sum(count - 1 for count in done.values()),
        "unasked": len(set(folder.keys()) - expected),
        "files left over": sorted(str(path.relative_to(home.parent)) for path in every - needed),
    }


def different(trials: list[TrialSpec], folder: StudyFolder, storage: Folder) -> list[str]:
    """Run trials again without kills, and return the keys of those whose history differs."""
    torch.set_num_threads(1)
    splits = sources.load(trials[0].dense.data)
    make_shared(trials, splits, storage)
    differs = []
    for trial in trials:
        again = [report.model_dump() for report in run_trial(trial, splits, storage, storage / trial.key(), CPU)]
        outcome = folder.outcome(trial.key())
        assert outcome is not None
        if learned([report.model_dump() for report in outcome.history]) != learned(again):
            differs.append(trial.key())
    return differs


if __name__ == "__main__":
    main()
