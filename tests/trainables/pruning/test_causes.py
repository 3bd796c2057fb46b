"""A network that cannot be cut is refused with the layer and the operation that is the cause."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.pruning.test_held import EXAMPLE, Net
from trainables.pruning.soundness import refuse_unsound_cuts


class Centre(torch.autograd.Function):
    """A user's own function, which mixes channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] - gradients[0].mean(1, keepdim=True)


class Double(torch.autograd.Function):
    """A user's own function, which treats each channel alike."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 2 * gradients[0]


def fourier(dim: int) -> Callable[[Net, Tensor], Tensor]:
    return lambda net, x: torch.view_as_real(torch.fft.fft(x, dim=dim)).select(-1, 0)


def shuffled(groups: int) -> Callable[[Net, Tensor], Tensor]:
    return lambda net, x: x.view(len(x), groups, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


CASES: dict[str, tuple[str, Callable[[Net, Tensor], Tensor], Callable[[Net, Tensor], Tensor]]] = {
    # operation in the message, a wiring with it, and the same wiring where it does not mix channels
    "unknown function": ("fft_r2c, view_as_real, select", fourier(1), fourier(2)),
    "own function": ("Centre", lambda net, x: Centre.apply(x), lambda net, x: Double.apply(x)),
    "reshape": ("view, transpose, unsafe_view", shuffled(2), shuffled(1)),
    "fixed width": ("view", lambda net, x: x.view(-1, 8, *x.shape[2:]).relu(), lambda net, x: x.relu()),
    "mean": ("mean, sub", lambda net, x: x - x.mean(1, keepdim=True), lambda net, x: x - x.mean((2, 3), keepdim=True)),
    "softmax": ("softmax", lambda net, x: x.softmax(1), lambda net, x: x.softmax(2)),
    "width": ("div", lambda net, x: x / x.shape[1], lambda net, x: x / 8),
    "index": ("index", lambda net, x: x[:, torch.arange(7, -1, -1)], lambda net, x: x[:, :, torch.arange(3, -1, -1)]),
    "shuffle": ("channel_shuffle", lambda net, x: F.channel_shuffle(x, 2), lambda net, x: F.channel_shuffle(x, 1)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error")
def test_the_layer_and_the_operation_are_named(case: str) -> None:
    name, mixing, sparing = CASES[case]
    with pytest.raises(ValueError, match="as if its layers ignored them, but the cut network ") as refusal:
        refuse_unsound_cuts(Net(mixing), EXAMPLE)
    assert f" without half the channels of a, which pass {name}; use granularity 'weight'" in str(refusal.value)
    refuse_unsound_cuts(Net(sparing), EXAMPLE)


def test_one_layer_of_many_is_found() -> None:
    layers = [nn.Sequential(nn.Conv2d(3 if n == 0 else 8, 8, 3, padding=1), nn.BatchNorm2d(8)) for n in range(9)]

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = nn.ModuleList(layers), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.layers):
                x = layer(x).relu()
                x = x.cumsum(1) if number == 5 else x
            logits: Tensor = self.head(x.mean((2, 3)))
            return logits

    with pytest.raises(ValueError, match=r"half the channels of layers\.5\.0, which pass cumsum; use") as refusal:
        refuse_unsound_cuts(Deep(), EXAMPLE)
    assert len(str(refusal.value).splitlines()) == 1
