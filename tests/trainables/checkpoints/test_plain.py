"""A pruned network is a plain one: what PyTorch does with networks, it does with these."""

import copy
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from tests.trainables.conftest import as_if_trained, assert_same
from trainables import load_pruned
from trainables.checkpoints import checkpoint
from trainables.checkpoints.checkpoint import Architecture
from trainables.models.layers import count
from trainables.pruning.channels import Channels
from trainables.storage.folder import Folder


def resnet(num_classes: int, in_channels: int) -> Any:
    """torchvision's ResNet-18 with one block in each stage."""
    return tv.ResNet(BasicBlock, [1, 1, 1, 1], num_classes)


def mobilenet_v2(num_classes: int, in_channels: int) -> Any:
    return tv.MobileNetV2(num_classes, width_mult=0.25)


def densenet(num_classes: int, in_channels: int) -> Any:
    return tv.DenseNet(8, (2, 2), 16, num_classes=num_classes)


NETWORKS = {
    "vgg16": Architecture(model="vgg16", width=0.125, classes=10, image=(3, 32, 32)),
    "resnet20": Architecture(model="resnet20", width=0.5, classes=10, image=(3, 16, 16)),
    "mobilenet": Architecture(model="mobilenet", width=0.125, classes=10, image=(3, 32, 32)),
    **{
        builder.__name__: Architecture(model=f"{__name__}:{builder.__name__}", width=1.0, classes=10, image=(3, 32, 32))
        for builder in (resnet, mobilenet_v2, densenet)
    },
}
FEW = ["resnet20", "densenet"]  # for what takes long: a shortcut of our own, concatenation


@lru_cache
def network(name: str) -> nn.Module:
    """The network cut to half of its channels."""
    torch.manual_seed(0)
    model = as_if_trained(NETWORKS[name].build())
    channels = Channels(model, NETWORKS[name].example())
    channels.remove({part.name: torch.arange((part.units + 1) // 2) for part in channels.parts})
    return model


def images(name: str, n: int) -> Tensor:
    return torch.randn(n, *NETWORKS[name].image, generator=torch.Generator().manual_seed(n))


def written(name: str, path: Path) -> Path:
    """What `best` writes, as far as the network goes."""
    record = {"architecture": NETWORKS[name].model_dump(mode="json")}
    checkpoint.save(Folder.at(str(path)), {"network": network(name).state_dict()}, record)
    return path


@pytest.fixture(params=NETWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plain(name: str, tmp_path: Path) -> nn.Module:
    return load_pruned(str(written(name, tmp_path)), trust=[NETWORKS[name].model])


@torch.no_grad()
def test_it_computes_what_the_cut_network_did_for_any_batch(name: str, plain: nn.Module) -> None:
    for batch in (1, 3, 7):
        assert_same(plain(images(name, batch)), network(name)(images(name, batch)))
    assert not plain.training
    dense = count(NETWORKS[name].build(), {}, NETWORKS[name].example())
    assert count(plain, {}, NETWORKS[name].example()).params_kept < 0.6 * dense.params_kept


def test_it_trains(name: str, plain: nn.Module) -> None:
    before = copy.deepcopy(plain.state_dict())
    plain.train()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3)
    nn.functional.cross_entropy(plain(images(name, 4)), torch.arange(4)).backward()
    assert all(parameter.grad is not None for parameter in plain.parameters())
    optimizer.step()
    assert all(not torch.equal(parameter, before[key]) for key, parameter in plain.named_parameters())


@torch.no_grad()
def test_its_state_is_copied_saved_and_loaded(name: str, plain: nn.Module) -> None:
    some, again = images(name, 2), copy.deepcopy(plain)
    expected = plain(some)
    assert torch.equal(again(some), expected)
    for parameter in again.parameters():
        parameter.zero_()
    assert torch.equal(plain(some), expected)  # a copy shares nothing
    file = io.BytesIO()
    torch.save(plain.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(some), expected)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11), (torch.float64, 24)])
def test_it_computes_in_other_precisions(name: str, plain: nn.Module, dtype: torch.dtype, bits: int) -> None:
    some = images(name, 2)
    expected = plain(some)
    got = plain.to(dtype)(some.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).abs().max() < 8 * 2.0**-bits * expected.abs().max()


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:FutureWarning")  # torch's own farewell to it
def test_torch_traces_it(name: str, plain: nn.Module) -> None:
    some = images(name, 2)
    assert_same(torch.fx.symbolic_trace(plain)(some), plain(some))
    traced = torch.jit.trace(plain, images(name, 1), check_trace=False)
    assert_same(traced(some), plain(some))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning")  # torchao follows it
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_its_linear_layers_quantise(name: str, plain: nn.Module) -> None:
    some = images(name, 8)
    expected = plain(some)
    quantised = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, torch.qint8)
    assert (quantised(some) - expected).abs().max() < 0.05 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("name", FEW, indirect=True)
def test_torch_compiles_and_exports_it(name: str, plain: nn.Module) -> None:
    some = images(name, 2)
    compiled = torch.compile(plain, backend="eager", fullgraph=True)  # inductor's C++ compiler would take minutes
    assert_same(compiled(some), plain(some))
    program = torch.export.export(plain, (some,))
    assert_same(program.module()(some), plain(some))
