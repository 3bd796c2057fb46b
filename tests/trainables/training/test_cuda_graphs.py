from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models import hub
from trainables.training.cuda_graphs import graphed
from trainables.training.train import autocast, to_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class OfAUser(nn.Module):
    """A user's own network."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class Waits(nn.Dropout):
    """A module that no graph can capture: it reads a value in the middle of the pass."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if float(images.detach().sum()) > -1e9 else images


def test_graphs_are_only_for_gpus_and_known_modules() -> None:
    known = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert calls(graphed(known, (), 8, CPU), known)
    assert not calls(graphed(known, (), 8, CUDA), known)
    mixed = nn.Sequential(OfAUser(), nn.Linear(4, 2))
    assert calls(graphed(mixed, (), 8, CUDA), mixed)


def calls(forward: object, network: nn.Module) -> bool:
    """Tell whether a forward pass is a plain call of a network, without graphs."""
    return isinstance(forward, partial) and forward.args == (network,)


def trained(network: Callable[[], nn.Module], replayed: bool) -> dict[str, Tensor]:
    """Train for three steps of 32 images and one of 20; return the state."""
    torch.manual_seed(0)
    model = to_device(network(), CUDA).train()
    images = torch.randn(116, 3, 32, 32).to(CUDA)
    labels = torch.arange(116, device=CUDA) % 10
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    forward = graphed(model, model.parameters(), 32, CUDA) if replayed else model
    torch.manual_seed(1)
    for batch, truth in zip(images.split(32), labels.split(32), strict=True):
        with autocast(CUDA):
            loss = F.cross_entropy(forward(batch), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    assert not replayed or not calls(getattr(forward, "_replay", None), model)
    return {name: tensor.float() for name, tensor in model.state_dict().items()}


@needs_gpu
@pytest.mark.parametrize("name", ["resnet20", "vgg16", "mobilenet"])
def test_replaying_trains_as_calling_does(name: str) -> None:
    plain, again = (trained(lambda: hub.build(name, 10, 3), replayed) for replayed in (False, True))
    for key, tensor in plain.items():
        torch.testing.assert_close(again[key], tensor, rtol=0.05, atol=0.01)
        if "num_batches" in key:
            assert int(again[key]) == 4


@needs_gpu
def test_dropout_draws_anew_in_each_step() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), nn.Dropout(0.5)).to(CUDA).train()
    forward = graphed(model, model.parameters(), 8, CUDA)
    images = torch.randn(8, 3, 2, 2, device=CUDA)
    one, other = forward(images).detach().clone(), forward(images).detach().clone()
    assert not torch.equal(one == 0, other == 0)


@needs_gpu
def test_what_cannot_be_captured_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.training.cuda_graphs.CAPTURABLE", {"torch", Waits.__module__.partition(".")[0]})
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), Waits(0.5)).to(CUDA).train()
    forward = graphed(model, model.parameters(), 8, CUDA)
    images = torch.randn(8, 3, 2, 2, device=CUDA)
    for _ in range(2):
        forward(images).sum().backward()
