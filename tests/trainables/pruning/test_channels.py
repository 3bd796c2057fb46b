import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck

from tests.trainables.conftest import as_if_trained, assert_same
from trainables.checkpoints.checkpoint import Architecture, load, rebuild, save
from trainables.models.cifar import PadShortcut
from trainables.models.layers import count, prunable_layers, weight_of
from trainables.pruning.channels import Channels
from trainables.storage.folder import Folder

KeptUnits = dict[str, Tensor]
SIDES = {"resnet20": 16, "small_cnn": 8}
WIDTHS = {"vgg16": 0.25, "mobilenet": 0.25}


def densenet(num_classes: int, in_channels: int) -> Any:
    return tv.DenseNet(8, (3, 4, 3), 16, num_classes=num_classes)


def resnext(num_classes: int, in_channels: int) -> Any:
    return tv.ResNet(Bottleneck, [1, 1, 1, 1], num_classes, groups=4, width_per_group=8)


def vit(num_classes: int, in_channels: int) -> Any:
    return tv.VisionTransformer(32, 16, 2, 2, hidden_dim=16, mlp_dim=48, num_classes=num_classes)


def convnext(num_classes: int, in_channels: int) -> Any:
    return tv.ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)], 0.0, 0.5, num_classes=num_classes)


NETWORKS = [
    "vgg16",
    "resnet20",
    "mobilenet",
    "small_cnn",
    *(f"{__name__}:{f.__name__}" for f in (densenet, resnext, vit, convnext)),
]


def architecture(name: str) -> Architecture:
    side = SIDES.get(name, 32)
    return Architecture(model=name, width=WIDTHS.get(name, 1.0), classes=10, image=(3, side, side))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return as_if_trained(architecture(name).build())


def images(name: str, n: int) -> Tensor:
    return torch.randn(n, *architecture(name).image)


def random_units(channels: Channels, seed: int) -> KeptUnits:
    random = np.random.default_rng(seed)
    return {
        p.name: torch.from_numpy(np.sort(random.permutation(p.units)[: random.integers(p.floor, p.units + 1)]))
        for p in channels.parts
    }


def cut(model: nn.Module, kept_units: KeptUnits, example: Tensor) -> nn.Module:
    smaller = copy.deepcopy(model)
    assert Channels(smaller, example).remove(kept_units).masks == {}
    return smaller


@torch.no_grad()
def survivors(model: nn.Module, kept_units: KeptUnits, example: Tensor) -> dict[str, list[int]]:
    """Find the kept outputs of each layer and batch norm: weights hold the index of their output before the cut."""
    tagged = copy.deepcopy(model)
    for module in tagged.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            rows = torch.arange(len(module.weight), dtype=torch.float32)
            module.weight.copy_(rows.view(-1, *[1] * (module.weight.dim() - 1)).expand_as(module.weight))
    return {
        name: module.weight.flatten(1)[:, 0].int().tolist() if module.weight.dim() > 1 else module.weight.int().tolist()
        for name, module in cut(tagged, kept_units, example).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    }


def masked(model: nn.Module, kept_outputs: dict[str, list[int]]) -> nn.Module:
    """The network at full width, with zeros in place of every removed channel."""
    reference = copy.deepcopy(model)
    for name, module in reference.named_modules():
        outputs = (
            kept_outputs.get(name.replace(".shortcut", ".bn2"), [])
            if isinstance(module, PadShortcut)
            else kept_outputs.get(name)
        )
        if outputs is not None:
            module.register_forward_hook(_zeroing(outputs, channels_last=isinstance(module, nn.Linear)))
    return reference


def _zeroing(outputs: list[int], channels_last: bool) -> Any:
    def zero(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        mask = torch.zeros(output.shape[-1 if channels_last else 1])
        mask[outputs] = 1.0
        return output * (mask if channels_last else mask[:, None, None])

    return zero


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NETWORKS[:-2])  # test_every_channel.py masks heads, and channels behind layer norms
def test_cut_network_computes_what_the_masked_one_does(name: str, seed: int) -> None:
    model, batch = build(name), images(name, 3)
    channels = Channels(copy.deepcopy(model), batch[:1])
    kept_units = random_units(channels, seed)
    kept_outputs = survivors(model, kept_units, batch[:1])
    for part in channels.parts:
        whole = range(len(weight_of(model.get_submodule(part.name))))
        kept = set(kept_units[part.name].tolist())
        assert kept_outputs[part.name] == [
            channel for channel in whole if channel % part.units in kept
        ]  # in every group
    with torch.no_grad():
        expected = masked(model, kept_outputs)(batch)
        assert_same(cut(model, kept_units, batch[:1])(batch), expected)
        assert (model(batch) - expected).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_cost_is_that_of_the_cut_network(name: str, seed: int) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    kept_units = random_units(channels, seed)
    widths = np.array([len(kept_units[part.name]) for part in channels.parts])
    params, macs = channels.cost(widths, "params"), channels.cost(widths, "macs")
    channels.remove(kept_units)
    run = {layer.parameter for layer in channels.layers}
    assert params == sum(model.get_parameter(name).numel() for name in run)
    assert macs == count(model, {}, example).macs_kept
    with FlopCounterMode(display=False) as counter:  # on the meta device, where attention is no single operation
        copy.deepcopy(model).to("meta")(example.to("meta"))
    assert macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_cost_of_all_channels_is_that_of_the_dense_network(name: str) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    whole = np.array([part.units for part in channels.parts])
    dense = count(model, {}, example)
    assert channels.cost(whole, "params") == dense.params_kept
    assert channels.cost(whole, "macs") == dense.macs_kept


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_their_floors_run_and_keep_all_classes(name: str) -> None:
    model, batch = build(name), images(name, 2)
    channels = Channels(model, batch[:1])
    floors = {part.name: part.floor for part in channels.parts}
    assert set(floors.values()) <= ({1, 2} if name.endswith("resnext") else {1})
    channels.remove({part.name: torch.arange(part.units)[-part.floor :] for part in channels.parts})
    with torch.no_grad():
        assert model(batch).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "narrower"),
    [
        ("resnet20", "conv"),
        (f"{__name__}:densenet", "features"),
        (f"{__name__}:resnext", "conv|downsample"),
        (f"{__name__}:vit", "conv_proj|encoder"),
        (f"{__name__}:convnext", "features"),
    ],
)
def test_all_layers_get_narrower_except_those_that_must_keep_their_width(name: str, narrower: str) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    channels.remove({part.name: torch.arange(part.floor) for part in channels.parts})
    pairs = zip(channels.layers, prunable_layers(model, example), strict=True)
    assert {before.name for before, after in pairs if after.shape[0] < before.shape[0]} == {
        layer.name for layer in channels.layers if re.search(narrower, layer.name)
    }


def read_back(model: nn.Module, name: str, path: Path) -> nn.Module:
    save(Folder.at(str(path)), {"network": model.state_dict()}, {})
    return rebuild(architecture(name).cut_as(model), load(Folder.at(str(path))).tensors["network"]).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_cut_network_survives_saving_and_can_be_cut_again(name: str, tmp_path: Path) -> None:
    model, batch = build(name), images(name, 2)
    original = copy.deepcopy(model)
    channels = Channels(model, batch[:1])
    kept_units = random_units(channels, 0)
    channels.remove(kept_units)
    again = read_back(model, name, tmp_path)
    attributes = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features")
    for module, cut_one in zip(again.modules(), model.modules(), strict=True):
        for attribute in attributes:
            assert getattr(module, attribute, None) == getattr(cut_one, attribute, None)
    second_view = Channels(again, batch[:1])
    units = {part.name: part.units for part in second_view.parts}
    assert units == {
        part.name: len(kept_units[part.name]) for part in channels.parts if len(kept_units[part.name]) > part.floor
    }
    half = {p.name: torch.arange(max(p.floor, p.units // 2)) for p in second_view.parts}
    second_view.remove(half)
    both = {n: kept[half[n]] if n in half else kept for n, kept in kept_units.items()}
    with torch.no_grad():
        assert_same(again(batch), cut(original, both, batch[:1])(batch))
        assert torch.equal(read_back(again, name, tmp_path)(batch), again(batch))


def test_tracing_does_not_change_the_model() -> None:
    model = build("resnet20").train()
    next(model.parameters()).requires_grad_(False)
    before = copy.deepcopy(model)
    Channels(model, images("resnet20", 1))
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )
