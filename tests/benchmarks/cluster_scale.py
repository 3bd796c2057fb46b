"""How busy a cluster's workers are, and what that costs: `python -m tests.benchmarks.cluster_scale`.

Logical nodes on this machine run one trial each. Trials take the project's own path from `run_trials` to their outcome,
but sleep instead of training. It prints a line for each number of workers:

- efficiency: trial time / (workers * time from the start of the first trial to the end of the last one),
- the same from the moment when all workers are up,
- gap: median seconds between two trials of a worker,
- driver, head: milliseconds of processor time of the driver and of Ray's head for each trial.

Then it prints what a report costs the driver, from trials that report ten times as often.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from ray import tune
from ray.cluster_utils import Cluster

from search.running.failures import SharedFailures
from search.running.messages import Messages
from search.running.tuner import run_trials
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.process import WorkerResources
from trainables.trial.reports import to_tune
from trainables.trial.trainable import write_outcome

WORKERS = (1, 2, 4, 8)
TRIALS, SECONDS, EPOCHS = 8, 5.0, 5  # trials of each worker, seconds and epochs of a trial
TICKS = os.sysconf("SC_CLK_TCK")


def nap(config: dict[str, Any], data: Mapping[str, Any], resources: WorkerResources) -> None:
    """Stand in for a trial: sleep, and write down when it began and ended."""
    spec = TrialSpec.model_validate_json(config["spec"])
    folder, began, epochs = Folder.at(config["folder"]), time.time(), spec.finetune.epochs
    for epoch in range(1, epochs + 1):
        time.sleep(SECONDS / epochs)
        judged = {"val_accuracy": 0.5, "val_loss": 1.0, "seconds": SECONDS / epochs, "images": 1}
        report = EpochReport(epoch=epoch, final=epoch == epochs, **judged)
        if not report.final:
            tune.report(to_tune(report))
    write_outcome(folder, outcome(spec.policy, spec.sparsity, spec.seed, 0.5).model_copy(update={"spec": spec}))
    folder.write("window", f"{began} {time.time()} {os.getpid()}".encode())
    tune.report(to_tune(report))


class Counting:
    """A watcher that counts reports."""

    reports = 0

    def say(self, text: str) -> None: ...

    def planned(self, trials: int) -> None: ...

    def dropped(self, trials: int, reason: str) -> None: ...

    def trained(self, networks: object) -> None: ...

    def started(self, spec: TrialSpec) -> None: ...

    def epoch(self, spec: TrialSpec, report: EpochReport) -> None:
        self.reports += 1

    def ended(self, row: object) -> None: ...


def measure(workers: int, epochs: int) -> dict[str, float]:
    """Run a study on that many nodes with one processor each."""
    settings = {"tracking": "off", "policies": ["uniform"], "sparsities": [0.5], "finetune": {"epochs": epochs}}
    study = StudySpec.model_validate({"name": "scale", "seeds": range(workers * TRIALS), **settings})
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 100 << 20}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        stack.callback(cluster.shutdown)
        servers = _children(os.getpid())
        for _ in range(workers):
            cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        stack.enter_context(mock.patch("search.running.tuner.prune_and_finetune", nap))
        stack.enter_context(
            mock.patch(
                "search.running.tuner.prepare",
                lambda specs, shared_work, sharing: ({}, shared_work.resources, SharedFailures(print)),
            )
        )
        watcher, driver_before = Counting(), time.process_time()
        head_before = sum(map(_processor_seconds, servers))
        rows, _ = run_trials(study, Folder.at(str(home)), cluster.address, Messages("quiet"), [watcher], lambda: None)
        driver = time.process_time() - driver_before
        ray_head = sum(map(_processor_seconds, servers)) - head_before
        windows = [path.read_text().split() for path in home.glob("scale/trials/*/window")]
    assert len(rows) == len(windows) == workers * TRIALS
    spans = sorted((float(began), float(ended)) for began, ended, _ in windows)
    first = {pid: min(float(b) for b, _, p in windows if p == pid) for _, _, pid in windows}
    up, end = max(first.values()), max(ended for _, ended in spans)
    gaps = []
    for worker in first:
        in_order = sorted((float(began), float(ended)) for began, ended, pid in windows if pid == worker)
        gaps += [began - ended for (_, ended), (began, _) in pairwise(in_order)]
    work = sum(ended - began for began, ended in spans)
    later = sum(ended - max(began, up) for began, ended in spans if ended > up)
    return {
        "efficiency": work / (workers * (end - spans[0][0])),
        "once all are up": later / (workers * (end - up)),
        "gap": median(gaps),
        "driver": 1e3 * driver / len(rows),
        "head": 1e3 * ray_head / len(rows),
        "reports": watcher.reports / len(rows),
    }


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    """Print one line for each number of workers, then the cost of a report."""
    print(f"{TRIALS} trials of {SECONDS:g} s and {EPOCHS} reports for each worker; ms of processor time per trial")
    for workers in WORKERS:
        numbers = measure(workers, EPOCHS)
        line = " · ".join(f"{name} {value:.2f}" for name, value in numbers.items())
        print(f"{workers} workers: {line}", flush=True)
    often = measure(workers, 10 * EPOCHS)
    each = (often["driver"] - numbers["driver"]) / (often["reports"] - numbers["reports"])
    print(f"{often['reports']:.0f} reports per trial: driver {often['driver']:.1f} ms; {each:.2f} ms per report")


if __name__ == "__main__":
    main()
