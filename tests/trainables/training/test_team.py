"""Several workers that train one network get the result of one worker, except for the rounding of sums."""

import pickle
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ray import cloudpickle
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from tests.trainables.trials import CPU, DATA, DENSE, WEIGHT, facts_of, make_shared, newest, outcome_of
from trainables.artifacts.dense import make_dense
from trainables.artifacts.gating import make_gating
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.curriculum_spec import Curriculum
from trainables.data import sources
from trainables.data.batches import Drawn, Resident, Share, eval_batches, train_batches
from trainables.data.splits import Splits
from trainables.learnability.records import read_records
from trainables.pruning_spec import Gates, Schedule
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.training.fit import residents
from trainables.training.norms import synchronised
from trainables.training.record import TrainingRecord
from trainables.training.recorder import SAMPLES
from trainables.training.team import Team
from trainables.trial.trainable import run_trial

SIZE = 3
RAGGED = WEIGHT.finetune.model_copy(
    update={"batch_size": 149}
)  # the last of three batches of 300 samples has 2 samples, so the third worker gets none
CHANNEL = WEIGHT.model_copy(update={"granularity": "channel", "criterion": "l1", "sparsity": 0.5})
SPECS = {
    "weights": WEIGHT.model_copy(update={"finetune": RAGGED}),
    "clipped, averaged": WEIGHT.model_copy(
        update={"finetune": RAGGED.model_copy(update={"grad_clip": 0.5, "ema": 0.8, "nesterov": True})}
    ),
    "steps": WEIGHT.model_copy(update={"schedule": Schedule(name="iterative", steps=3)}),
    "gates, distilled": CHANNEL.model_copy(
        update={"policy": "gates-joint", "gates": Gates(epochs=2), "recovery": "distill"}
    ),
    "drawn again": WEIGHT.model_copy(update={"curriculum": Curriculum(name="drop-hardest"), "record": "during"}),
}


def train_along(rank: int, port: int, calls: Connection) -> None:
    """Work as a follower of the leader, without Ray."""
    data = residents(sources.load(DATA), CPU)
    dist.init_process_group("gloo", store=TCPStore("127.0.0.1", port, SIZE), rank=rank, world_size=SIZE)
    while (sent := calls.recv_bytes()) != b"":
        list(pickle.loads(sent).epochs(data, Team(rank, SIZE)))
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(7, 3), (7, 3, 4, 4)])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_norm_of_one_worker_computes_as_torchs_own(shape: tuple[int, ...], momentum: float | None) -> None:
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    norm, reference = (kind(3, momentum=momentum) for _ in range(2))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -3.0]))
    reference.load_state_dict(norm.state_dict())
    store = TCPStore("127.0.0.1", 0, 1, is_master=True, wait_for_workers=False)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    with synchronised(norm):
        for _ in range(4):
            inputs = (3 + 2 * torch.randn(shape)).requires_grad_()
            same = inputs.detach().clone().requires_grad_()
            weights = torch.randn(shape)
            for layer, images in ((norm, inputs), (reference, same)):
                (layer(images) * weights).sum().backward()
            torch.testing.assert_close(inputs.grad, same.grad)
            for name, value in reference.state_dict().items():
                torch.testing.assert_close(norm.state_dict()[name], value)
            for name, parameter in reference.named_parameters():
                torch.testing.assert_close(norm.get_parameter(name).grad, parameter.grad)
        torch.testing.assert_close(norm.eval()(inputs), reference.eval()(same))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """A team of this process, which leads, and two other processes."""
    store = TCPStore("127.0.0.1", 0, SIZE, is_master=True, wait_for_workers=False)
    context, pipes, processes = get_context("spawn"), [], []
    for rank in range(1, SIZE):
        receiver, sender = context.Pipe(duplex=False)
        processes.append(context.Process(target=train_along, args=(rank, store.port, receiver)))
        processes[-1].start()
        pipes.append(sender)
    dist.init_process_group("gloo", store=store, rank=0, world_size=SIZE)

    def call(training: Any) -> None:
        for pipe in pipes:
            pipe.send_bytes(cloudpickle.dumps(training))

    yield Team(0, SIZE, call)
    for pipe in pipes:
        pipe.send_bytes(b"")
    dist.destroy_process_group()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0


def assert_close(one: Checkpoint, other: Checkpoint) -> None:
    for group, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[group].keys()
        for name, tensor in tensors.items():
            expected = other.tensors[group][name]
            assert (tensor - expected).abs().max() <= 1e-2 * expected.abs().max() + 1e-6, (group, name)


def assert_same_reports(one: tuple[EpochReport, ...], other: tuple[EpochReport, ...]) -> None:
    numbers = ("val_accuracy", "val_loss", "train_loss", "epoch", "images", "final")
    for left, right in zip(one, other, strict=True):
        assert [getattr(left, name) for name in numbers] == pytest.approx([getattr(right, name) for name in numbers])


@pytest.mark.parametrize("kind", SPECS)
def test_a_trial_comes_to_the_same(kind: str, team: Team, splits: Splits, storage: Folder, tmp_path: Path) -> None:
    spec = SPECS[kind]
    make_shared([spec], splits, storage)
    alone, together = (Folder.at(str(tmp_path / name)) for name in ("alone", "together"))
    ends = []
    for folder, who in ((alone, Team()), (together, team)):
        for report in run_trial(spec, splits, storage, folder, CPU, who):
            if report.final:
                ends.append(newest(folder))
    assert_close(*reversed(ends))
    assert_same_reports(outcome_of(together).history, outcome_of(alone).history)
    times = {"prune_seconds": 0.0, "allocation_seconds": 0.0}
    assert facts_of(together).model_copy(update=times) == facts_of(alone).model_copy(update=times)
    if spec.record == "during":
        one, other = read_records(alone), read_records(together)
        assert np.array_equal(one.ids, other.ids)
        assert len(one.ids) < 300  # some samples were dropped, so others came again
        assert np.array_equal(one.seen, other.seen)
        for name in ("hits", "probabilities", "margins", "errors"):
            alike = np.isclose(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-5)
            assert alike.mean() > 0.99  # if a sample comes twice in one batch, either time may count


def test_what_trials_share_comes_to_the_same(team: Team, splits: Splits, storage: Folder, tmp_path: Path) -> None:
    spec = SPECS["gates, distilled"].gating
    for name, who in (("alone", Team()), ("together", team)):
        home = Folder.at(str(tmp_path / name))
        make_dense(DENSE, splits, home, home / "dense", CPU, who)
        make_gating(spec, splits, storage, home / "gates", CPU, who)
    for kind in ("dense", "gates"):
        alone, together = (checkpoint.load(Folder.at(str(tmp_path / name)) / kind) for name in ("alone", "together"))
        assert_close(together, alone)
        assert_same_reports(*(network.read(TrainingRecord).history for network in (alone, together)))
    assert (tmp_path / "together" / "dense" / SAMPLES).exists()
    assert together.read(TrainingRecord).gates == alone.read(TrainingRecord).gates


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_shares_of_a_batch_are_the_batch(augment: Any, splits: Splits) -> None:
    data = Resident(splits.train, splits, CPU)
    drawn = Drawn(torch.randint(0, 300, (151,)), torch.rand(151))
    shares = [list(train_batches(data, 50, augment, 3, drawn, Share(rank, SIZE))) for rank in range(SIZE)]
    whole = list(train_batches(data, 50, augment, 3, drawn))
    assert [len(batch.labels) for batch in whole] == [50, 50, 50]
    for batch, *parts in zip(whole, *shares, strict=True):
        losses, means = batch.inputs.square().mean((1, 2, 3)), []
        for rank, part in enumerate(parts):
            assert torch.equal(part.content[1], batch.labels[rank::SIZE])
            for field in ("inputs", "index", "weights"):
                assert torch.equal(getattr(part, field), getattr(batch, field)[rank::SIZE])
            means.append(part.mean(losses[rank::SIZE]))
        assert float(sum(means)) / SIZE == pytest.approx(float(batch.mean(losses)))
    judged = [torch.cat([b.index for b in eval_batches(data, 128, Share(rank, SIZE))]) for rank in range(SIZE)]
    assert torch.equal(torch.cat(judged).sort().values, torch.arange(300))


class Louder(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def test_norms_of_another_kind_are_refused_and_the_others_are_what_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3, affine=False, track_running_stats=False))
    before = [(type(norm), dict(vars(norm))) for norm in model]
    with synchronised(model):
        assert not any(type(norm) is kind for norm, (kind, _) in zip(model, before, strict=True))
    assert [(type(norm), dict(vars(norm))) for norm in model] == before
    refused = pytest.raises(ValueError, match=r"batch norms, but has a Louder; set resources\.workers to 1")
    with refused, synchronised(nn.Sequential(Louder(3))):
        raise AssertionError
