"""Compensation of whole networks: what each layer reads, what it is fitted to, and what stays."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.conftest import as_if_trained
from trainables.compensation.compensation import Targets, _inputs_of, compensate
from trainables.models import hub
from trainables.models.layers import Masks, weight_name, weight_of
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Cut, Prunable
from trainables.pruning.masks import apply

CONVOLUTIONS = (
    nn.Conv2d(6, 4, 3),
    nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    nn.Conv2d(6, 4, 3, padding="same", padding_mode="reflect"),
    nn.Conv2d(6, 4, 3, padding=1, groups=2),
    nn.Conv2d(6, 12, 3, padding=1, groups=6, bias=False),
    nn.Conv2d(6, 4, 1, stride=3),
)


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_what_a_convolution_reads_gives_its_outputs(layer: nn.Conv2d) -> None:
    images = torch.randn(3, 6, 9, 8)
    outputs = layer(images).movedim(1, -1).flatten(0, -2)  # (rows, outputs)
    rows = torch.randperm(len(outputs))[:20]
    read = _inputs_of(layer, images, rows)  # (groups, rows, width)
    weight = layer.weight.flatten(1).unflatten(0, (layer.groups, -1))
    computed = (read @ weight.mT).movedim(0, 1).flatten(1) + (0.0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(computed, outputs[rows], rtol=0.0, atol=1e-5)


def _half(prunable: Prunable) -> dict[str, Tensor]:
    """Keep every second unit of each part."""
    return {part.name: torch.arange(0, part.units, 2) for part in prunable.parts}


def _random_masks(network: nn.Module, density: float) -> Masks:
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    return {weight_name(name): torch.rand_like(layer.weight) < density for name, layer in layers.items()}


def test_layers_are_fitted_in_turn_to_least_squares_of_torch() -> None:
    """Two linear layers with biases: each one as torch.linalg solves it, the second on what the first now gives."""
    torch.manual_seed(0)
    layers = nn.Linear(9, 8), nn.Linear(8, 5)
    before = nn.Sequential(layers[0], nn.ReLU(), layers[1]).double()
    images = torch.randn(64, 9, dtype=torch.float64)
    masks = _random_masks(before, 0.5)
    network = deepcopy(before)
    apply(network, masks)
    compensate(network, Targets.read(before, images, 0), Cut(masks), images, damping=1e-9)
    read = images
    targets = layers[0](images).detach(), before(images).detach()
    for name, target in zip(("0", "2"), targets, strict=True):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        for row in range(len(layer.weight)):
            own = masks[f"{name}.weight"][row].nonzero().flatten()
            system = torch.cat([read[:, own], torch.ones(len(read), 1, dtype=read.dtype)], dim=1)
            solution = torch.linalg.lstsq(system, target[:, row]).solution
            torch.testing.assert_close(layer.weight[row, own], solution[:-1], rtol=0.0, atol=1e-4)
            torch.testing.assert_close(layer.bias[row], solution[-1], rtol=0.0, atol=1e-4)
        read = F.relu(layer(read)).detach()
        assert bool((layer.weight[~masks[f"{name}.weight"]] == 0).all())


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "vgg16", "mobilenet", "vit"])
def test_a_network_that_lost_nothing_stays_the_same_to_the_bit(name: str) -> None:
    before = as_if_trained(hub.build(name, 10, 3, 0.25)).eval()
    network = deepcopy(before)
    images = torch.randn(8, 3, 32, 32)
    compensate(network, Targets.read(before, images, 0), Cut(), images, batch_statistics=False)
    for (key, now), then in zip(network.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(now, then) or (key.endswith("bias") and torch.allclose(now, then, atol=1e-4)), key


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mobilenet", "vit"])
@pytest.mark.parametrize("batch_statistics", [False, True])
def test_masked_weights_stay_zero_and_the_outputs_come_closer(name: str, batch_statistics: bool) -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32)
    before = as_if_trained(hub.build(name, 10, 3, 0.25)).eval()
    network = deepcopy(before)
    masks = _random_masks(network, 0.5)
    apply(network, masks)
    norms = {k: v.clone() for k, v in network.state_dict().items() if "running" in k or "tracked" in k}
    wanted, far = before(images), network(images)
    compensate(network, Targets.read(before, images, 0), Cut(masks), images, batch_statistics=batch_statistics)
    for layer, mask in masks.items():
        assert bool((network.get_parameter(layer)[~mask] == 0).all()), layer
    assert all(torch.equal(network.state_dict()[key], value) for key, value in norms.items())
    assert not network.training
    if not batch_statistics:
        assert (network(images) - wanted).square().mean() < 0.5 * (far - wanted).square().mean()


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mobilenet", "vit"])
def test_cut_channels_are_fitted_as_channels_that_readers_ignore(name: str) -> None:
    """The cut network and the network at full width, whose readers ignore the same channels, compute the same."""
    torch.manual_seed(0)
    images = torch.randn(32, 3, 32, 32, dtype=torch.float64)
    before = as_if_trained(hub.build(name, 10, 3, 0.25)).eval().double()
    cut, full = deepcopy(before), deepcopy(before)
    prunable, ignoring = (view(network, "channel", images[:1]) for network in (cut, full))
    cut_to = prunable.remove(_half(prunable))
    for layer, kept in cut_to.outputs.items():
        assert len(weight_of(cut.get_submodule(layer))) == len(kept)
    ignoring.mask(_half(ignoring))
    masks = {
        f"{layer}.weight": (module.weight != 0).flatten(2).any(2).any(0)[None, :, None, None].expand_as(module.weight)
        if isinstance(module, nn.Conv2d)
        else (module.weight != 0).any(0).expand_as(module.weight)
        for layer, module in full.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    compensate(cut, Targets.read(before, images, 0), cut_to, images, batch_statistics=False, damping=1e-6)
    compensate(full, Targets.read(before, images, 0), Cut(masks), images, batch_statistics=False, damping=1e-6)
    with torch.no_grad():  # the damping is relative to all inputs of a layer, of which one network has half
        torch.testing.assert_close(cut(images), full(images), rtol=0.0, atol=0.05 * float(before(images).std()))


def test_the_layers_after_a_removed_block_are_fitted() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32)
    before = as_if_trained(hub.build("resnet20", 10, 3, 0.25)).eval()
    network = deepcopy(before)
    prunable = view(network, "block", images[:1])
    kept = {part.name: torch.arange(part.units - 1) for part in prunable.parts}
    assert prunable.remove(kept) == Cut()
    far = (network(images) - before(images)).square().mean()
    compensate(network, Targets.read(before, images, 0), Cut(), images, batch_statistics=False)
    assert (network(images) - before(images)).square().mean() < 0.5 * far


class _Odd(nn.Module):
    """A layer that runs twice, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.frozen, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.frozen.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 6) to (N, 3)."""
        last: Tensor = self.last(self.frozen(self.twice(self.twice(x))))
        return last


def test_layers_that_run_twice_or_are_frozen_stay() -> None:
    torch.manual_seed(0)
    before = _Odd().eval()
    network = deepcopy(before)
    masks = _random_masks(network, 0.5)
    apply(network, masks)
    cut = deepcopy(network)
    images = torch.randn(40, 6)
    compensate(network, Targets.read(before, images, 0), Cut(masks), images)
    for name in ("twice", "frozen"):
        assert torch.equal(weight_of(network.get_submodule(name)), weight_of(cut.get_submodule(name)))
    assert not torch.allclose(network.last.weight, cut.last.weight)
    assert not network.frozen.weight.requires_grad


def test_a_frozen_bias_stays_and_the_weights_are_fitted_to_the_rest() -> None:
    torch.manual_seed(0)
    before = nn.Linear(6, 4).double()
    before.bias.requires_grad_(False)
    network = deepcopy(before)
    masks = _random_masks(network, 0.5)
    mask = {"weight": masks["weight"]}
    apply(network, mask)
    images = torch.randn(40, 6, dtype=torch.float64) + 1.0
    compensate(network, Targets.read(before, images, 0), Cut(mask), images, damping=1e-9)
    assert torch.equal(network.bias, before.bias)
    target = (before(images) - before.bias).detach()
    for row in range(4):
        own = mask["weight"][row].nonzero().flatten()
        expected = torch.linalg.lstsq(images[:, own], target[:, row]).solution
        torch.testing.assert_close(network.weight[row, own], expected, rtol=0.0, atol=1e-5)


def test_the_same_seed_gives_the_same_weights() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32)
    before = as_if_trained(hub.build("small_cnn", 10, 3)).eval()
    masks = _random_masks(before, 0.3)
    fitted = []
    for seed in (0, 0, 1):
        network = deepcopy(before)
        apply(network, masks)
        compensate(network, Targets.read(before, images, seed), Cut(masks), images)
        fitted.append([parameter.detach() for parameter in network.parameters()])
    same = [all(torch.equal(a, b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(fitted)]
    assert same == [True, False]
