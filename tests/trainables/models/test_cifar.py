"""The project's own networks: their sizes against the papers, their widths, and a short training."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from trainables.models import hub
from trainables.models.cifar import CIFAR

MOBILENET_PAIRS = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512)]
MOBILENET_PAIRS += [(512, 512)] * 5 + [(512, 1024), (1024, 1024)]
MOBILENET_SIDES = [32, 16, 16, 8, 8, 4, 4, 4, 4, 4, 4, 2, 2]  # of each block's output, for 32 x 32 images
MOBILENET_PARAMS = 3 * 32 * 9 + 2 * 32 + sum(9 * a + 2 * a + a * b + 2 * b for a, b in MOBILENET_PAIRS) + 1024 * 10 + 10
MOBILENET_MACS = (
    3 * 32 * 9 * 32 * 32
    + sum((9 * a + a * b) * side**2 for (a, b), side in zip(MOBILENET_PAIRS, MOBILENET_SIDES, strict=True))
    + 1024 * 10
)


def conv_and_linear(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def conv_widths(model: nn.Module) -> list[int]:
    return [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]


def params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, image: tuple[int, int, int]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *image))
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize(
    ("name", "expected_params", "expected_macs"),
    [
        ("vgg16", 14_715_584 + 2 * 4224 + 10, 313_201_664),  # weights, batch norm, the bias of the head
        ("resnet20", 269_722, 40_551_040),
        ("resnet32", 464_154, 68_862_592),
        ("resnet56", 853_018, 125_485_696),
        ("mobilenet", MOBILENET_PARAMS, MOBILENET_MACS),
    ],
)
def test_params_and_macs_are_those_of_the_papers(name: str, expected_params: int, expected_macs: int) -> None:
    model = hub.build(name, 10, 3)
    assert params(model) == expected_params
    assert macs(model, (3, 32, 32)) == expected_macs


def test_vgg16_has_the_prunable_weights_that_allocation_answers_are_worked_for() -> None:
    model = hub.build("vgg16", 10, 3)
    assert conv_widths(model) == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert sum(layer.weight.numel() for layer in conv_and_linear(model)) == 14_715_584


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("name", sorted(CIFAR))
def test_logits_have_one_column_for_each_class(name: str, in_channels: int) -> None:
    side = 32 if name == "vgg16" else 8
    model = hub.build(name, 7, in_channels, width=0.25)
    logits = model(torch.randn(2, in_channels, side, side + 3))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_width_multiplies_every_hidden_layer_and_rounds() -> None:
    assert conv_widths(hub.build("resnet20", 10, 3, width=0.3)) == [5] * 7 + [10] * 6 + [19] * 6
    assert conv_widths(hub.build("small_cnn", 10, 3, width=2.0)) == [32, 64, 128, 128]
    assert [layer.weight.shape[0] for layer in conv_and_linear(hub.build("small_cnn", 10, 3, 0.5))][-2:] == [64, 10]


@pytest.mark.parametrize("name", sorted(CIFAR))
def test_no_layer_gets_narrower_than_one_channel(name: str) -> None:
    model = hub.build(name, 3, 1, width=1e-3)
    assert set(conv_widths(model)) == {4 if name == "vit" else 1}  # one for each head
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("name", sorted(CIFAR))
def test_convolutions_keep_the_variance_of_what_they_read(name: str) -> None:
    torch.manual_seed(0)
    for module in hub.build(name, 10, 3).modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            spread = module.weight.std().item() * (fan_in / 2) ** 0.5
            assert spread == pytest.approx(1.0, abs=4 / module.weight.numel() ** 0.5)


def test_small_cnn_learns_digits_in_ten_epochs() -> None:
    digits = load_digits()
    images = (torch.tensor(digits.images, dtype=torch.float32)[:, None] - 4.9) / 6.0
    labels = torch.tensor(digits.target)
    torch.manual_seed(0)
    order = torch.randperm(len(labels))
    train, test = order[:1300], order[1300:]
    model = hub.build("small_cnn", 10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10 * 11)
    for _ in range(10):
        for batch in torch.split(train[torch.randperm(1300)], 128):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(images[batch]), labels[batch]))
            optimizer.step()
            schedule.step()
    accuracy = (model.eval()(images[test]).argmax(1) == labels[test]).float().mean().item()
    assert accuracy >= 0.95


@pytest.mark.parametrize("name", ["resnet20", "mobilenet"])
def test_a_network_can_be_exported_and_traced(name: str) -> None:
    model = hub.build(name, 10, 3, width=0.25).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))
