import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from trainables.models.layers import count, inventory, prunable_layers


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


LAYERS = [  # name, shape, positions
    ("stem", (8, 3, 3, 3), 16),
    ("depthwise", (8, 1, 5, 5), 16),
    ("twice", (8, 8), 32),
    ("windows", (6, 4), 32),
    ("head", (2, 6), 1),
]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_each_layer_that_runs_is_found_with_its_positions(device: str) -> None:
    with torch.device(device):
        layers = prunable_layers(Mixed(), torch.zeros(1, 3, 8, 8))
    assert [(layer.name, layer.shape, layer.positions) for layer in layers] == LAYERS
    assert [layer.outputs for layer in layers] == [8, 8, 8, 6, 2]


def test_sizes_and_macs_are_products_of_the_shape() -> None:
    layers = prunable_layers(Mixed(), torch.zeros(1, 3, 8, 8))
    assert [layer.size for layer in layers] == [216, 200, 64, 24, 12]
    assert [layer.macs for layer in layers] == [216 * 16, 200 * 16, 64 * 32, 24 * 32, 12]


def test_masked_weights_are_not_counted() -> None:
    mask = torch.zeros(8, 3, 3, 3, dtype=torch.bool)
    mask[0, 0] = True
    counted = count(Mixed(), {"stem.weight": mask}, torch.zeros(1, 3, 8, 8))
    assert counted.weights == {"stem": 9, "depthwise": 200, "twice": 64, "windows": 24, "head": 12}
    assert counted.params_kept == 309
    assert counted.macs_kept == 9 * 16 + 200 * 16 + 64 * 32 + 24 * 32 + 12


class Kinds(nn.Module):
    """A transposed convolution, a matrix of the module's own, and parameters of other kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.up = nn.ConvTranspose2d(4, 5, 2)
        self.mix = nn.Parameter(torch.zeros(5, 6))
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.norm = nn.LayerNorm(6)
        self.table = nn.Embedding(3, 6)
        self.unused = nn.Linear(7, 8)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.up(self.conv(x) * self.scale).mean((2, 3)) @ self.mix
        return self.head(self.norm(mixed + self.table(torch.tensor([1]))))  # type: ignore[no-any-return]


def test_every_parameter_is_a_layer_or_fixed_with_a_reason() -> None:
    model = Kinds()
    found = inventory(model, torch.zeros(1, 1, 8, 8))
    assert [(layer.name, layer.parameter, layer.outputs, layer.positions) for layer in found.layers] == [
        ("mix", "mix", 6, 1),
        ("conv", "conv.weight", 4, 36),
        ("up", "up.weight", 5, 36),
        ("head", "head.weight", 2, 1),
    ]
    assert {name: each.reason for name, each in found.fixed.items()} == {
        "scale": "no product has it as its matrix",
        "conv.bias": "a bias",
        "up.bias": "a bias",
        "norm.weight": "the scale of a norm",
        "norm.bias": "a bias",
        "table.weight": "a table of which rows are looked up",
        "unused.weight": "a forward pass does not read it",
        "unused.bias": "a forward pass does not read it",
        "head.bias": "a bias",
    }
    assert sum(layer.size for layer in found.layers) + found.params_fixed == sum(p.numel() for p in model.parameters())


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
    recurrent = nn.Sequential(weight_norm(nn.GRU(2, 3), "weight_hh_l0"))
    with pytest.raises(ValueError, match="layer 0 must store its weight, but computes it; remove"):
        prunable_layers(recurrent, torch.zeros(1, 2, 2))


class Standardised(nn.Conv2d):
    """Its filters have mean 0 when they are used, so zeros would not stay."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


def test_a_layer_that_changes_its_weight_before_it_multiplies_is_fixed() -> None:
    found = inventory(nn.Sequential(Standardised(1, 2, 3), nn.Conv2d(2, 3, 3)), torch.zeros(1, 1, 8, 8))
    assert [layer.name for layer in found.layers] == ["1"]
    assert found.fixed["0.weight"].reason == "its module changes it before the product"
    assert found.products == {"0": 18 * 36}


def test_a_shared_weight_is_one_layer() -> None:
    shared = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 4))
    shared[2].weight = shared[1].weight
    (layer,) = prunable_layers(shared, torch.zeros(1, 1, 2, 2))
    assert (layer.name, layer.positions, layer.shared) == ("1", 2, ("2",))


class LanguageModel(nn.Module):
    """The head multiplies by the table of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(10, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.embed(x)))  # type: ignore[no-any-return]


def test_a_head_that_shares_its_weight_with_an_embedding_is_fixed() -> None:
    found = inventory(LanguageModel(), torch.tensor([[1, 2, 3]]))
    assert [layer.name for layer in found.layers] == ["inner"]
    assert found.fixed["embed.weight"].reason == "a table of which rows are looked up, and shared with head"
    assert found.products == {"head": 3 * 40}
