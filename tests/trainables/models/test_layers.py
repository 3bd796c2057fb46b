import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from trainables.models.layers import Layer, count, prunable_layers, uncounted


class Mixed(nn.Module):
    """Layers of every kind: strided, depthwise, run twice, run on windows of an image, never run."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.twice = nn.Linear(8, 8)
        self.windows = nn.Linear(4, 6)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.depthwise(self.stem(x)))  # (B, 8, 4, 4)
        x = self.twice(self.twice(x.movedim(1, -1)))
        windows = x.reshape(-1, 2, 4)  # (16 B, 2, 4)
        logits: Tensor = self.head(self.windows(windows).view(len(x), -1, 6).mean(1))
        return logits


LAYERS = (
    Layer("stem", (8, 3, 3, 3), 16),
    Layer("depthwise", (8, 1, 5, 5), 16),
    Layer("twice", (8, 8), 32),
    Layer("windows", (6, 4), 32),
    Layer("head", (2, 6), 1),
)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_each_layer_that_runs_is_found_with_its_positions(device: str) -> None:
    with torch.device(device):
        assert prunable_layers(Mixed(), torch.zeros(1, 3, 8, 8)) == LAYERS


def test_sizes_and_macs_are_products_of_the_shape() -> None:
    assert [layer.size for layer in LAYERS] == [216, 200, 64, 24, 12]
    assert [layer.macs for layer in LAYERS] == [216 * 16, 200 * 16, 64 * 32, 24 * 32, 12]


def test_masked_weights_are_not_counted() -> None:
    mask = torch.zeros(8, 3, 3, 3, dtype=torch.bool)
    mask[0, 0] = True
    counted = count(Mixed(), {"stem": mask}, torch.zeros(1, 3, 8, 8))
    assert counted.weights == {"stem": 9, "depthwise": 200, "twice": 64, "windows": 24, "head": 12}
    assert counted.params_kept == 309
    assert counted.macs_kept == 9 * 16 + 200 * 16 + 64 * 32 + 24 * 32 + 12


class Outside(nn.Module):
    """A convolution and a head that budgets count; a transposed convolution and a raw matrix that they do not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.up = nn.ConvTranspose2d(4, 5, 2)
        self.mix = nn.Parameter(torch.zeros(5, 6))
        self.unused = nn.Linear(7, 8)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(self.conv(x)).mean((2, 3)) @ self.mix)  # type: ignore[no-any-return]


def test_weights_outside_of_the_layers_that_run_are_not_counted() -> None:
    left = {"up.weight": 4 * 5 * 2 * 2, "mix": 5 * 6, "unused.weight": 7 * 8}
    assert uncounted(Outside(), torch.zeros(1, 1, 8, 8)) == left


def test_finding_layers_does_not_change_the_model() -> None:
    model = Mixed().train()
    before = copy.deepcopy(model.state_dict())
    prunable_layers(model, torch.randn(1, 3, 8, 8))
    assert model.training
    assert model.norm.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_a_failed_forward_pass_does_not_change_the_model() -> None:
    model = Mixed().train()
    with pytest.raises(RuntimeError):
        prunable_layers(model, torch.randn(1, 5, 8, 8))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_weights_that_no_mask_can_hold_are_refused() -> None:
    computed = Mixed()
    weight_norm(computed.head)
    with pytest.raises(ValueError, match="layer head must store its weight, but computes it; remove"):
        prunable_layers(computed, torch.zeros(1, 3, 8, 8))
    shared = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
    shared[2].weight = shared[1].weight
    with pytest.raises(ValueError, match="layer 2 must not share its weight, but shares it with layer 1; give"):
        prunable_layers(shared, torch.zeros(1, 1, 2, 2))
