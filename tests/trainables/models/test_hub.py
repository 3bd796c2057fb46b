"""Building a network by its name, and the check whether images fit it."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainables.models import hub, trial_run
from trainables.models.cifar import CIFAR
from trainables.models.own_code import fingerprint


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
    trial_run.check_images(name, 5, (1, 128, 128))


def test_own_networks_cost_no_slow_imports() -> None:
    code = (
        "import sys; from trainables.models import hub, trial_run; from trainables.models.cifar import CIFAR\n"
        "for name in CIFAR: hub.check(name, 0.5); trial_run.check_images(name, 2, (1, 32, 32), 0.25)\n"
        "assert not {'torchvision', 'torch._dynamo'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("resnet57", 1.0, "model must be a known name, but got 'resnet57'; did you mean 'resnet5"),
        ("smal_cnn", 1.0, "did you mean 'small_cnn'"),
        ("resnet18", 0.5, "width must be 1.0 for resnet18, but got 0.5"),
        ("json:loads", 0.5, "width must be 1.0 for json:loads, but got 0.5; only these have a width: mobilenet"),
        ("json:loads", 1.0, "must be callable as loads.*; give it these 2 parameters"),
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

STATE = linear(4, 2).state_dict()

def loading(num_classes, in_channels):
    net = linear(num_classes, in_channels)
    net.load_state_dict(STATE)
    return net

def empty(num_classes, in_channels):
    net = linear(num_classes, in_channels)
    net[0].register_parameter("none", nn.Parameter(nn.init.kaiming_uniform_(torch.empty(0, 3))))
    return net

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


@pytest.mark.parametrize("function", ["loading", "empty"])
def test_torchs_warnings_of_tensors_without_values_stay_away(user_nets: str, function: str) -> None:
    name = f"{user_nets}:{function}"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        blank = hub.build_blank(name, 4, 2)
        trial_run.check_images(name, 4, (2, 16, 16))
        fingerprint(name, 4, 2)
    assert not heard
    assert all(parameter.is_meta for parameter in blank.parameters())
    assert not any(parameter.is_meta for parameter in hub.build(f"{user_nets}:loading", 4, 2).parameters())


def test_images_that_fit_pass_without_touching_the_random_state(user_nets: str) -> None:
    before = torch.get_rng_state()
    for name in CIFAR:
        trial_run.check_images(name, 10, (3, 32, 32))
    trial_run.check_images("regnet_x_400mf", 10, (1, 32, 32))
    trial_run.check_images(f"{user_nets}:Gated", 10, (1, 8, 8))  # its values decide, so shapes cannot refuse it
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
        trial_run.check_images(name, 10, image)


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
    assert refuses(lambda: trial_run.check_images(name, 10, (1, side, side), width=0.25)) == really
