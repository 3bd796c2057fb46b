"""Two workers that train a network of a task get the result of one worker, whatever the task's metric."""

import pickle
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ray import cloudpickle
from torch import nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.tasks import scenes, series, table, text
from tests.trainables.trials import CPU, WEIGHT, make_shared, outcome_of
from trainables.data import samples
from trainables.data.batches import Share, train_batches
from trainables.data.collated import on_device
from trainables.data.splits import TaskSplits
from trainables.data_spec import DataSpec
from trainables.learnability.records import read_records
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.task.task import Task
from trainables.task_spec import TaskSpec
from trainables.training.fit import residents
from trainables.training.team import Team
from trainables.training.train import evaluate, task_loss
from trainables.trial.trainable import run_trial

SIZE = 2
TASKS = {
    "table": (table.diabetes, "tests.tasks.table:mlp"),
    "series": (series.rows, "tests.tasks.series:convolutions"),
    "scenes": (scenes.segmentation, "tests.tasks.scenes:unet"),
    "text": (text.docstrings, "tests.tasks.text:gpt"),
}


@cache
def splits_of(name: str, train: int = 67, val: int = 33) -> TaskSplits:
    """Load a few samples of a task; an odd number, so that shares differ."""
    task: Task = TASKS[name][0]()
    of_train, of_val = (samples.samples_of(task, role, 0, most) for role, most in (("train", train), ("val", val)))
    return TaskSplits(of_train, of_val, samples.inputs_of(task), task.objective)


def spec_of(name: str, **changes: Any) -> TrialSpec:
    recipe = Recipe(epochs=2, lr=0.01, batch_size=33)  # batches of 33, 33 and 1 samples; the last one is dropped
    data = DataSpec(task=TaskSpec(metric=splits_of(name).objective.metric.spec))
    own = {"model": TASKS[name][1], "recipe": recipe, "width": 1.0, "data": data}
    dense = WEIGHT.dense.model_copy(update=own)
    return WEIGHT.model_copy(
        update={"dense": dense, "finetune": recipe, "sparsity": 0.5, "recalibrate": 2, "calibration": 8, **changes}
    )


def follow(rank: int, port: int, calls: Connection) -> None:
    """Work as a follower of the leader, without Ray: each call is a task, its number of samples, and what to do."""
    dist.init_process_group("gloo", store=TCPStore("127.0.0.1", port, SIZE), rank=rank, world_size=SIZE)
    while (sent := calls.recv_bytes()) != b"":
        samples_of_task, work = pickle.loads(sent)
        work(residents(splits_of(*samples_of_task), CPU), Team(rank, SIZE))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def calls() -> Iterator[Connection]:
    """The way to one other process, with which this one is a team."""
    store = TCPStore("127.0.0.1", 0, SIZE, is_master=True, wait_for_workers=False)
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=follow, args=(1, store.port, receiver))
    process.start()
    dist.init_process_group("gloo", store=store, rank=0, world_size=SIZE)
    yield sender
    sender.send_bytes(b"")
    dist.destroy_process_group()
    process.join(30)
    assert process.exitcode == 0


def team_for(name: str, calls: Connection) -> Team:
    def call(training: Any) -> None:
        calls.send_bytes(cloudpickle.dumps(((name,), lambda data, team: list(training.epochs(data, team)))))

    return Team(0, SIZE, call)


def built(name: str) -> nn.Module:
    module, _, function = TASKS[name][1].partition(":")
    inputs = splits_of(name).inputs
    torch.manual_seed(0)
    model: nn.Module = getattr(import_module(module), function)(inputs.classes, inputs.image[0])
    return model


@pytest.mark.parametrize("val", [1, 2, 33])
@pytest.mark.parametrize("name", TASKS)
def test_a_metric_adds_up_over_workers_and_an_empty_share_adds_nothing(name: str, val: int, calls: Connection) -> None:
    of_task = (name, 8, max(val, 2) if name == "table" else val)  # the variance of one patient is 0
    model, splits = built(name), splits_of(*of_task)
    calls.send_bytes(cloudpickle.dumps((of_task, lambda data, team: evaluate(model, data[1], team))))
    data = on_device(splits.val, splits, CPU)
    together, alone = evaluate(model, data, Team(0, SIZE)), evaluate(model, data)
    assert together.loss == pytest.approx(alone.loss, rel=1e-6)
    assert together.metric == pytest.approx(alone.metric, rel=1e-6)
    if name in ("scenes", "series"):  # these count, so their sums are exact
        assert together.metric == alone.metric


@pytest.mark.parametrize("name", TASKS)
def test_a_trial_comes_to_the_same(name: str, calls: Connection, tmp_path: Path) -> None:
    splits, storage = splits_of(name), Folder.at(str(tmp_path))
    spec = spec_of(name, record="during" if splits.objective.hits else "off")
    make_shared([spec], splits, storage)
    alone, together = storage / "alone", storage / "together"
    list(run_trial(spec, splits, storage, alone, CPU))
    list(run_trial(spec, splits, storage, together, CPU, team_for(name, calls)))
    for one, other in zip(outcome_of(alone).history, outcome_of(together).history, strict=True):
        assert (one.images, one.epoch) == (other.images, other.epoch)
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-2)
        assert other.val_accuracy == pytest.approx(one.val_accuracy, rel=1e-2)
        if one.epoch:
            assert other.train_loss == pytest.approx(one.train_loss, rel=1e-2)
    if spec.record == "during":
        by_one, by_two = read_records(alone), read_records(together)
        assert by_one.seen.tolist() == by_two.seen.tolist()
        assert np.isclose(by_one.hits, by_two.hits, atol=0.1).mean() > 0.9  # rounding changes few answers


@pytest.mark.parametrize("name", TASKS)
def test_an_empty_share_has_a_gradient_of_zero(name: str) -> None:
    splits, model = splits_of(name, 6), built(name).eval()
    data = on_device(splits.train, splits, CPU)
    *_, empty = train_batches(data, 4, "none", 0, share=Share(2, 3))  # the third worker of the second batch
    assert len(empty.index) == len(empty.inputs) == 0
    loss = task_loss(splits.objective, Recipe())(empty, model(empty.inputs))
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)
