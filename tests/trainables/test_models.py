import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from trainables.models import hub
from trainables.models.cifar import CIFAR, PadShortcut

torch.set_num_threads(1)

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
    assert set(conv_widths(model)) == {1}
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


def test_pad_shortcut_copies_every_second_pixel_and_appends_zeros() -> None:
    x = torch.randn(2, 3, 5, 4)
    out = PadShortcut(3, 5, stride=2)(x)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 3:], torch.zeros(2, 2, 3, 2))


def test_pad_shortcut_hides_no_infinity_behind_its_zeros() -> None:
    shortcut = PadShortcut(1, 2, stride=1)
    shortcut.keep_outputs([1])
    assert torch.equal(shortcut(torch.full((1, 1, 1, 1), torch.inf)), torch.zeros(1, 1, 1, 1))


Cuts = tuple[int, int, list[tuple[bool, list[int]]]]  # inputs, outputs, (is the input side, kept) of each cut


@st.composite
def cuts(draw: st.DrawFn) -> Cuts:
    """Draw two widths, and cuts of either side as channels to keep (of those then present)."""
    inputs = draw(st.integers(1, 5))
    outputs = draw(st.integers(inputs, 8))
    steps = []
    present = {True: inputs, False: outputs}
    for _ in range(draw(st.integers(1, 4))):
        side = draw(st.booleans())
        kept = sorted(draw(st.sets(st.integers(0, present[side] - 1), min_size=1)))
        present[side] = len(kept)
        steps.append((side, kept))
    return inputs, outputs, steps


@settings(max_examples=60, deadline=None)
@given(cuts())
def test_a_cut_pad_shortcut_computes_what_the_masked_one_does(
    case: Cuts,
) -> None:
    inputs, outputs, steps = case
    whole, cut = PadShortcut(inputs, outputs, stride=2), PadShortcut(inputs, outputs, stride=2)
    left = {True: list(range(inputs)), False: list(range(outputs))}
    for is_input, kept in steps:
        (cut.keep_inputs if is_input else cut.keep_outputs)(kept)
        left[is_input] = [left[is_input][i] for i in kept]
    x = torch.randn(2, inputs, 4, 4)
    masked = torch.zeros_like(x)
    masked[:, left[True]] = x[:, left[True]]
    assert torch.equal(cut(x[:, left[True]]), whole(masked)[:, left[False]])
    assert (cut.in_channels, cut.source.dtype) == (len(left[True]), torch.int64)


def test_a_state_dict_brings_the_wiring_of_a_cut_pad_shortcut_back() -> None:
    cut, rebuilt = PadShortcut(4, 8, stride=2), PadShortcut(3, 4, stride=2)
    cut.keep_inputs([1, 2, 3])
    cut.keep_outputs([0, 2, 3, 7])
    rebuilt.load_state_dict(cut.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(rebuilt(x), cut(x))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet"])
def test_a_network_can_be_exported_and_traced(name: str) -> None:
    model = hub.build(name, 10, 3, width=0.25).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_torchvision_network_reads_one_channel_and_is_otherwise_as_it_was(name: str) -> None:
    grey, colour = hub.build(name, 7, 1), hub.build(name, 7, 3)
    assert grey.eval()(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    differing = [
        (tuple(a.shape), tuple(b.shape))
        for a, b in zip(grey.parameters(), colour.parameters(), strict=True)
        if a.shape != b.shape
    ]
    ((first_grey, first_colour),) = differing
    assert first_grey == (first_colour[0], 1, *first_colour[2:])
    assert str(grey) == str(colour).replace("Conv2d(3,", "Conv2d(1,", 1)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_with_auxiliary_heads_returns_plain_logits_while_training(name: str) -> None:
    hub.check_images(name, 5, (1, 128, 128))


def test_own_networks_cost_no_torchvision_import() -> None:
    code = (
        "import sys; from trainables.models import hub; hub.check('vgg16', 0.5); hub.build('small_cnn', 2, 1); "
        "hub.check_images('small_cnn', 2, (1, 8, 8)); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("resnet57", 1.0, "model must be a known name, but got 'resnet57'; did you mean 'resnet5"),
        ("smal_cnn", 1.0, "did you mean 'small_cnn'"),
        ("resnet18", 0.5, "width must be 1.0 for resnet18, but got 0.5"),
        ("json:loads", 0.5, "must be callable as loads"),
        ("no_such_package.nets:build", 1.0, "'no_such_package.nets' failed with: No module named 'no_such_package'"),
        ("json:dmps", 1.0, "function of json must be a known name, but got 'dmps'; did you mean 'dumps'"),
    ],
)
def test_a_name_or_width_that_cannot_be_built_is_refused(name: str, width: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hub.check(name, width)
    with pytest.raises(ValueError, match=message):
        hub.build(name, 10, 3, width)


USER_NETS = """
import torch
from torch import nn

def linear(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 16 * 16, num_classes))

def no_module(num_classes, in_channels):
    return [num_classes]

def feature_map(num_classes, in_channels):
    return nn.Conv2d(in_channels, num_classes, 3)

def broken(num_classes, in_channels):
    return nn.Bilinear(1, 1, 1)

class Gated(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.rate = torch.linspace(0, 1, 3).tolist()[1]
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.head(x if x.mean() > 0 else -x)
"""


@pytest.fixture
def user_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "user_nets_of_test.py").write_text(USER_NETS)
    monkeypatch.syspath_prepend(tmp_path)
    return "user_nets_of_test"


def test_a_users_function_is_called_with_classes_and_channels(user_nets: str) -> None:
    hub.check(f"{user_nets}:linear")
    assert hub.build(f"{user_nets}:linear", 4, 2)(torch.zeros(3, 2, 16, 16)).shape == (3, 4)


def test_a_users_function_must_return_a_module_and_has_no_width(user_nets: str) -> None:
    with pytest.raises(ValueError, match="but returned a list"):
        hub.build(f"{user_nets}:no_module", 4, 2)
    with pytest.raises(ValueError, match="but got 2"):
        hub.check(f"{user_nets}:linear", width=2.0)


def test_images_that_fit_pass_without_touching_the_random_state(user_nets: str) -> None:
    before = torch.get_rng_state()
    for name in CIFAR:
        hub.check_images(name, 10, (3, 32, 32))
    hub.check_images("regnet_x_400mf", 10, (1, 32, 32))
    hub.check_images(f"{user_nets}:Gated", 10, (1, 8, 8))  # its values decide, so shapes cannot refuse it
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("vgg16", (1, 8, 8), "such as 32 x 32 pixels, but got 8 x 8; set data.size to 32"),
        ("vgg16", (3, 64, 31), "such as 32 x 32 pixels, but got 64 x 31"),
        ("small_cnn", (3, 2, 2), "such as 8 x 8 pixels, but got 2 x 2"),
        ("vit_b_16", (3, 256, 256), "such as 224 x 224 pixels, but got 256 x 256"),
        ("user_nets_of_test:linear", (3, 32, 32), "such as 16 x 16 pixels, but got 32 x 32"),
        ("user_nets_of_test:broken", (3, 32, 32), "must run on images, but failed on 32 x 32 pixels: .*missing"),
        ("user_nets_of_test:feature_map", (3, 8, 8), r"to logits \(2, 10\), but returned \(2, 10, 6, 6\)"),
    ],
)
@pytest.mark.usefixtures("user_nets")
def test_images_that_do_not_fit_are_refused_with_a_size_that_does(
    name: str, image: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hub.check_images(name, 10, image)


@pytest.mark.parametrize(("name", "side"), [("vgg16", 31), ("vgg16", 32), ("small_cnn", 8), ("mobilenet", 4)])
def test_the_judgement_by_shapes_agrees_with_a_real_run(name: str, side: int) -> None:
    def refuses(run: Callable[[], object]) -> bool:
        try:
            run()
        except (RuntimeError, ValueError):
            return True
        return False

    model = hub.build(name, 10, 1, width=0.25)
    really = refuses(lambda: model(torch.zeros(2, 1, side, side)))
    assert refuses(lambda: hub.check_images(name, 10, (1, side, side), width=0.25)) == really
