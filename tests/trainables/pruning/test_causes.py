"""A network that cannot be cut is refused with the layer and the operation that is the cause."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.pruning.test_held import EXAMPLE, Net
from trainables.pruning.channels import Channels
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


HOLDERS: dict[str, tuple[str, Callable[[Net, Tensor], Tensor], Callable[[Net, Tensor], Tensor]]] = {
    # operation in the reason, a wiring with it, and the same wiring where it does not mix channels
    "own function": ("mean", lambda net, x: Centre.apply(x), lambda net, x: Double.apply(x)),
    "mean": ("mean", lambda net, x: x - x.mean(1, keepdim=True), lambda net, x: x - x.mean((2, 3), keepdim=True)),
    "softmax": ("softmax", lambda net, x: x.softmax(1), lambda net, x: x.softmax(2)),
    "index": ("index", lambda net, x: x[:, torch.arange(7, -1, -1)], lambda net, x: x[:, :, torch.arange(3, -1, -1)]),
    "sum": ("cumsum", lambda net, x: x.cumsum(1), lambda net, x: x.cumsum(2)),
}


@pytest.mark.parametrize("case", HOLDERS)
@pytest.mark.filterwarnings("error")
def test_an_operation_that_mixes_channels_holds_them(case: str) -> None:
    name, mixing, sparing = HOLDERS[case]
    prunable = Channels(Net(mixing), EXAMPLE)
    assert prunable.held["a"] == name
    assert {part.name for part in prunable.parts} == {"b"}
    refuse_unsound_cuts(Net(mixing), EXAMPLE)
    assert {part.name for part in Channels(Net(sparing), EXAMPLE).parts} == {"a", "b"}
    refuse_unsound_cuts(Net(sparing), EXAMPLE)


def test_an_unknown_function_holds_channels() -> None:
    assert "fft" in Channels(Net(fourier(1)), EXAMPLE).held["a"]


CASES: dict[str, tuple[str, Callable[[Net, Tensor], Tensor], Callable[[Net, Tensor], Tensor]]] = {
    # operation in the message, a wiring with it, and the same wiring where it does not know the number of channels
    "fixed width": ("view", lambda net, x: x.view(-1, 8, *x.shape[2:]).relu(), lambda net, x: x.relu()),
    "width": ("div", lambda net, x: x / x.shape[1], lambda net, x: x / 8),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error")
def test_the_layer_and_the_operation_are_named(case: str) -> None:
    name, mixing, sparing = CASES[case]
    with pytest.raises(ValueError, match="as if its layers ignored them, but the cut network ") as refusal:
        refuse_unsound_cuts(Net(mixing), EXAMPLE)
    assert f" without half the channels of a, which pass {name}; use granularity 'weight'" in str(refusal.value)
    refuse_unsound_cuts(Net(sparing), EXAMPLE)


@pytest.mark.parametrize("depth", [9, 40])
def test_one_layer_of_many_is_found(depth: int) -> None:
    layers = [nn.Sequential(nn.Conv2d(3 if n == 0 else 8, 8, 3, padding=1), nn.BatchNorm2d(8)) for n in range(depth)]

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.head = nn.ModuleList(layers), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.layers):
                x = layer(x).relu()
                x = x / x.shape[1] if number == 5 else x
            logits: Tensor = self.head(x.mean((2, 3)))
            return logits

    with pytest.raises(ValueError, match=r"half the channels of layers\.5\.0, which pass div; use") as refusal:
        refuse_unsound_cuts(Deep(), EXAMPLE)
    assert len(str(refusal.value).splitlines()) == 1
