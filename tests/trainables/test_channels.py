import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck

from trainables.checkpoints import Architecture, load, rebuild, save
from trainables.models import hub
from trainables.models.cifar import PadShortcut
from trainables.pruning.channels import Channels
from trainables.pruning.layers import count, prunable_layers, weight_of
from trainables.storage import Folder

torch.set_num_threads(1)
Keep = dict[str, Tensor]
SIDES = {"vgg16": 32, "resnet20": 16, "mobilenet": 32, "small_cnn": 8, "resnet18": 32}
WIDTHS = {"vgg16": 0.25, "mobilenet": 0.25}


OTHERS: dict[str, Callable[[], Any]] = {
    "densenet": lambda: tv.DenseNet(8, (3, 4, 3), 16, num_classes=10),
    "resnext": lambda: tv.ResNet(Bottleneck, [1, 1, 1, 1], 10, groups=4, width_per_group=8),
    "vit": lambda: tv.VisionTransformer(32, 16, 2, 2, hidden_dim=16, mlp_dim=48, num_classes=10),
    "convnext": lambda: tv.ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 2)], 0.0, 0.5, num_classes=10),
}


def build(name: str) -> nn.Module:
    """An untrained network in eval mode, its batch norms as different from doing nothing as trained ones."""
    torch.manual_seed(0)
    model: nn.Module = OTHERS[name]() if name in OTHERS else hub.build(name, 10, 3, WIDTHS.get(name, 1.0))
    if isinstance(model, tv.VisionTransformer):
        nn.init.normal_(model.heads.head.weight)  # starts as zeros, through which nothing would show
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


def images(name: str, n: int) -> Tensor:
    side = SIDES.get(name, 32)
    return torch.randn(n, 3, side, side)


def random_keep(channels: Channels, seed: int) -> Keep:
    random = np.random.default_rng(seed)
    return {
        p.name: torch.from_numpy(np.sort(random.permutation(p.units)[: random.integers(1, p.units + 1)]))
        for p in channels.parts
    }


def cut(model: nn.Module, keep: Keep, example: Tensor) -> nn.Module:
    smaller = copy.deepcopy(model)
    assert Channels(smaller, example).remove(keep) == {}
    return smaller


@torch.no_grad()
def survivors(model: nn.Module, keep: Keep, example: Tensor) -> dict[str, list[int]]:
    """Which outputs of each layer and batch norm stay, read from weights that say where they come from."""
    tagged = copy.deepcopy(model)
    for module in tagged.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            rows = torch.arange(len(module.weight), dtype=torch.float32)
            module.weight.copy_(rows.view(-1, *[1] * (module.weight.dim() - 1)).expand_as(module.weight))
    return {
        name: module.weight.flatten(1)[:, 0].int().tolist() if module.weight.dim() > 1 else module.weight.int().tolist()
        for name, module in cut(tagged, keep, example).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    }


def masked(model: nn.Module, stays: dict[str, list[int]]) -> nn.Module:
    """The network at full width, with zeros in place of every channel that is gone."""
    reference = copy.deepcopy(model)
    for name, module in reference.named_modules():
        outputs = (
            stays.get(name.replace(".shortcut", ".bn2"), []) if isinstance(module, PadShortcut) else stays.get(name)
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


def assert_same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [*SIDES, *OTHERS])
def test_cut_network_computes_what_the_masked_one_does(name: str, seed: int) -> None:
    model, some = build(name), images(name, 3)
    channels = Channels(copy.deepcopy(model), some[:1])
    keep = random_keep(channels, seed)
    stays = survivors(model, keep, some[:1])
    assert all(stays[part] == kept.tolist() for part, kept in keep.items())
    with torch.no_grad():
        expected = masked(model, stays)(some)
        assert_same(cut(model, keep, some[:1])(some), expected)
        assert (model(some) - expected).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [*SIDES, *OTHERS])
def test_cost_is_that_of_the_cut_network(name: str, seed: int) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    keep = random_keep(channels, seed)
    widths = np.array([len(keep[part.name]) for part in channels.parts])
    params, macs = channels.cost(widths, "params"), channels.cost(widths, "macs")
    channels.remove(keep)
    run = [layer.name for layer in channels.layers]
    assert params == sum(weight_of(model.get_submodule(layer)).numel() for layer in run)
    assert macs == count(model, {}, example).macs_kept
    if name != "vit":  # attention multiplies activations with each other, which is no layer's work
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(example)
        assert macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", [*SIDES, *OTHERS])
def test_cost_of_all_channels_is_that_of_the_dense_network(name: str) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    whole = np.array([part.units for part in channels.parts])
    assert channels.cost(whole, "params") == sum(layer.size for layer in prunable_layers(model, example))
    assert channels.cost(whole, "macs") == sum(layer.macs for layer in prunable_layers(model, example))


@pytest.mark.parametrize("name", [*SIDES, *OTHERS])
def test_one_channel_of_each_group_is_enough_and_classes_stay(name: str) -> None:
    model, some = build(name), images(name, 2)
    channels = Channels(model, some[:1])
    channels.remove({part.name: torch.tensor([part.units - 1]) for part in channels.parts})
    with torch.no_grad():
        assert model(some).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        (
            "resnext",
            {f"layer{stage}.0.conv{n}" for stage in (1, 2, 3, 4) for n in (1, 2)},
        ),  # around grouped convolutions
        ("vit", {"conv_proj"} | {f"encoder.layers.encoder_layer_{n}.mlp.3" for n in (0, 1)}),  # around attention
        ("convnext", {"features.0.0", "features.2.1"} | {f"features.1.{n}.block.5" for n in (0, 1)}),  # layer norm
        ("densenet", {"classifier"}),
        ("resnet20", {"head"}),
    ],
)
def test_what_cannot_be_cut_keeps_its_width(name: str, whole: set[str]) -> None:
    model, example = build(name), images(name, 1)
    channels = Channels(model, example)
    widths = {layer: len(weight_of(model.get_submodule(layer))) for layer in whole}
    channels.remove({part.name: torch.tensor([0]) for part in channels.parts})
    assert widths == {layer: len(weight_of(model.get_submodule(layer))) for layer in whole}


@pytest.mark.parametrize("name", sorted(SIDES))
def test_cut_network_survives_saving_and_can_be_cut_again(name: str, tmp_path: Any) -> None:
    model, some = build(name), images(name, 2)
    original = copy.deepcopy(model)
    channels = Channels(model, some[:1])
    keep = random_keep(channels, 0)
    channels.remove(keep)
    save(Folder.at(str(tmp_path)), {"network": model.state_dict()}, {})
    side = SIDES[name]
    architecture = Architecture(model=name, width=WIDTHS.get(name, 1.0), classes=10, image=(3, side, side))
    again = rebuild(architecture, load(Folder.at(str(tmp_path))).tensors["network"]).eval()
    with torch.no_grad():
        assert torch.equal(again(some), model(some))
    for part, kept in keep.items():
        assert len(weight_of(again.get_submodule(part))) == len(kept)
    attributes = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features")
    for module, cut_one in zip(again.modules(), model.modules(), strict=True):
        for attribute in attributes:
            assert getattr(module, attribute, None) == getattr(cut_one, attribute, None)
    assert {p.name for p in Channels(again, some[:1]).parts} >= {n for n, kept in keep.items() if len(kept) > 1}

    second_view = Channels(again, some[:1])
    half = {p.name: torch.arange((p.units + 1) // 2) for p in second_view.parts}
    second_view.remove(half)
    both = {n: kept[half[n]] if n in half else kept for n, kept in keep.items()}
    with torch.no_grad():
        assert_same(again(some), cut(original, both, some[:1])(some))


def test_model_that_is_looked_at_stays_as_it_was() -> None:
    model = build("resnet20").train()
    next(model.parameters()).requires_grad_(False)
    before = copy.deepcopy(model)
    Channels(model, images("resnet20", 1))
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    )
