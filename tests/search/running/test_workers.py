"""Trials of two workers: one whose worker is killed goes on from its newest epoch; one whose worker fails ends."""

import os
import signal
from pathlib import Path

import pytest
import torch

from search.running.shared_work import awaited, worker_resources
from search.study.resources import Resources
from tests.search.drivers import finish, start
from tests.search.test_faults import histories
from tests.search.waiting import until
from trainables.data import sources
from trainables.outcome import Outcome
from trainables.storage.folder import Folder
from trainables.training.process import WorkerResources
from trainables.trial.trainable import run_trial

SETTINGS = (
    *("models=[small_cnn,hc_failing:build]", "resources.workers=2", "dense.epochs=2", "finetune.epochs=15"),
    *("sparsities=[0.8]", "seeds=[0]"),
    *("policies=[uniform]", "calibration=64", "tracking=off"),
)

# It fails in its trial only: the weights of its dense network hold no zeros.
FAILING = """
import torch.distributed as dist
from torch import nn

class Net(nn.Sequential):
    def forward(self, images):
        pruned = bool((self[0].weight == 0).any())
        if pruned and self.training and dist.is_initialized() and dist.get_rank() == 1:
            raise ArithmeticError("of one worker")
        return super().forward(images)

def build(num_classes, in_channels):
    rest = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
    return Net(nn.Conv2d(in_channels, 8, 3), nn.BatchNorm2d(8), *rest)
"""


def other_workers(driver: int) -> list[int]:
    """Return the ids of the Ray workers of this session."""
    workers = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.getsid(int(status.parent.name)) == driver and b"ray::Worker" in status.read_bytes():
                workers.append(int(status.parent.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return workers


def test_a_killed_worker_costs_a_trial_no_epoch_and_an_error_of_a_worker_ends_its_trial(tmp_path: Path) -> None:
    (tmp_path / "hc_failing.py").write_text(FAILING)
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with start(tmp_path, "digits", "--set", *SETTINGS, more=path) as driver:
        until(lambda: any(len(history) > 2 for history in histories(tmp_path).values()), 120)
        (victim,) = other_workers(driver.pid)
        os.kill(victim, signal.SIGKILL)
        before = histories(tmp_path)
        until(lambda: histories(tmp_path) != before, 120)
        summary = finish(driver, code=3)
    assert summary["trials"] == {"total": 2, "new": 2, "done": 1, "failed": 1, "stopped": 0}
    ((key, history),) = [(key, history) for key, history in before.items() if len(history) > 2]
    assert len(history) < 16  # it was killed before its end
    assert histories(tmp_path)[key][: len(history)] == history  # equal with seconds: no epoch ran again

    storage = Folder.at(str(tmp_path / "howcompact-runs"))
    ended = Outcome.from_file((storage / "digits" / "trials" / key).read("outcome.json"))
    splits = sources.load(ended.spec.dense.data)
    alone = list(run_trial(ended.spec, splits, storage, storage / "alone", torch.device("cpu")))
    assert ended.history[-1].val_loss == pytest.approx(alone[-1].val_loss, rel=0.02)
    assert [r.val_accuracy for r in ended.history] == pytest.approx([r.val_accuracy for r in alone], abs=0.02)
    assert [r.train_loss for r in ended.history[1:9]] == pytest.approx([r.train_loss for r in alone[1:9]], rel=1e-2)

    (other,) = [file for file in tmp_path.glob("howcompact-runs/digits/trials/*/outcome.json") if key not in file.parts]
    failed = Outcome.from_file(other.read_bytes())
    assert failed.spec.dense.model == "hc_failing:build"
    assert (failed.status, failed.error) == ("failed", "RuntimeError: a worker failed: ArithmeticError: of one worker")


def test_the_message_names_what_a_cluster_lacks() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}]
    for fits in (WorkerResources(8, 0), WorkerResources(4, 1), WorkerResources(0.5, 0.25, workers=9)):
        assert awaited(fits, nodes) == ""
    asked = {
        "8 CPUs and 1 GPU": WorkerResources(8, 1),
        "9 CPUs and 0 GPUs": WorkerResources(9, 0),
        "1 CPU and 2 GPUs": WorkerResources(1, 2, workers=2),
    }
    for amounts, resources in asked.items():
        assert awaited(resources, nodes).startswith(f"no node has the {amounts} that a worker")


def test_a_machine_that_is_too_small_is_refused_at_once() -> None:
    has = {"CPU": 4.0, "GPU": 1.0}
    assert worker_resources(Resources(workers=1, cpus=2), has, grows=False).bundles == [{"CPU": 2.0, "GPU": 1.0}]
    assert worker_resources(Resources(workers=9, cpus=1), has, grows=True).workers == 9
    for resources in (Resources(workers=5, gpus=0), Resources(workers=2), Resources(cpus=8)):
        with pytest.raises(ValueError, match=r"resources must fit into this machine: it has 4 CPUs and 1 GPU, but"):
            worker_resources(resources, has, grows=False)
