import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.mobilenetv3 import InvertedResidualConfig

from tests.benchmarks.profiles import plain_profile
from tests.trainables.conftest import as_if_trained
from trainables.allocation.profiles import CURVES, Profile, from_parquet, levels_of, to_parquet, units_at
from trainables.artifacts import profile as profiling
from trainables.artifacts.profile import measure_profile
from trainables.artifacts.replay import Replay
from trainables.data import sources
from trainables.data_spec import DataSpec
from trainables.models import hub
from trainables.models.cifar import PadShortcut
from trainables.names import BLOCKS, GranularityName
from trainables.pruning.context import Calibration
from trainables.pruning.granularities import view
from trainables.spec import ProfileSpec
from trainables.training.calibration import calibration_samples

CRITERION: dict[GranularityName, str] = {"weight": "magnitude", "channel": "l1"}
SHALLOWED = ("small_cnn", "residual", "squeeze-excitation")  # networks with blocks that can be removed
SAMPLES = 14
CURVE = {"block.conv": (0.1 + 0.2, 0.5, 0.0), "head": (1 / 3, 0.25, 1.0)}


class Residual(nn.Module):
    """A residual block whose shortcut adds channels and takes every other pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn1, self.conv2 = nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, padding=1)
        self.shortcut, self.head = PadShortcut(8, 16, 2), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))) + self.shortcut(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Tricky(nn.Module):
    """Changes tensors in place, runs a layer twice, reads a tensor that is no buffer, splits and concatenates."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.head = nn.Conv2d(16, 6, 1), nn.Linear(6, 10)
        self.factor = torch.linspace(0.5, 2, 8)[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        identity = x
        x = F.relu(self.twice(x), inplace=True)
        x += identity
        x[:, 0] *= 0.5
        y = self.twice(x * self.factor)
        x.relu_()
        y = F.relu(self.last(torch.cat((y[:, :4], x, y[:, 4:].sigmoid_()), 1)), inplace=True)
        logits: Tensor = self.head(y.mean((2, 3)))
        return logits


class Wayward(nn.Module):
    """Branches on the values that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.abs().mean() > 0.2:
            x = x.relu()
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


SQUEEZED = [
    InvertedResidualConfig(16, 3, 32, 16, True, "RE", 1, 1, 1.0),
    InvertedResidualConfig(16, 3, 32, 24, True, "HS", 2, 1, 1.0),
]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small_cnn": lambda: hub.build("small_cnn", 10, 3, 0.5),
    "residual": Residual,
    "densenet": lambda: tv.DenseNet(8, (2, 2), 16, num_classes=10),
    "squeeze-excitation": lambda: tv.MobileNetV3(SQUEEZED, 32, num_classes=10),
    "vit": lambda: tv.VisionTransformer(16, 8, 2, 2, hidden_dim=16, mlp_dim=32, num_classes=10),
    "tricky": Tricky,
    "wayward": Wayward,
}
PAIRS = [(name, granularity) for name in NETWORKS for granularity in CRITERION]
PAIRS = [pair for pair in PAIRS if pair not in (("tricky", "channel"), ("wayward", "channel"))]  # cannot lose channels
PAIRS += [(name, granularity) for name in SHALLOWED for granularity in BLOCKS]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return as_if_trained(NETWORKS[name]())


def some_samples(side: int = 16) -> Calibration:
    return Calibration((torch.randn(SAMPLES, 3, side, side), torch.arange(SAMPLES) % 10))


def spec_of(granularity: GranularityName, levels: int = 6) -> ProfileSpec:
    return ProfileSpec(granularity=granularity, criterion=CRITERION.get(granularity, "l1"), levels=levels)


def measured(model: nn.Module, granularity: GranularityName, calibration: Calibration) -> Profile:
    return measure_profile(model, calibration.images[:1], spec_of(granularity), calibration)


@pytest.mark.parametrize(("name", "granularity"), PAIRS)
def test_profile_is_that_of_a_plain_loop(
    name: str, granularity: GranularityName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "BATCH", 5)  # this gives batches of two sizes
    model, calibration = build(name), some_samples()
    got = measured(model, granularity, calibration)
    expected = plain_profile(model, spec_of(granularity), calibration)
    assert (got.levels, got.dense_accuracy) == (expected.levels, expected.dense_accuracy)
    for curve in CURVES:
        measured_losses, plain_losses = getattr(got, curve), getattr(expected, curve)
        assert list(measured_losses) == list(plain_losses)
        for part in plain_losses:
            atol = 1.01 / SAMPLES if curve in ("accuracy", "right") else 1e-6
            np.testing.assert_allclose(
                measured_losses[part], plain_losses[part], rtol=1e-3, atol=atol, err_msg=f"{curve} of {part}"
            )
    for part in got.accuracy:
        assert [getattr(got, curve)[part][0] for curve in CURVES] == [
            got.dense_accuracy,
            0.0,
            0.0,
            0.0,
            got.dense_accuracy,
        ]
        assert got.distortion[part][-1] > 0.0


@pytest.mark.parametrize(
    ("name", "granularity"),
    [
        ("residual", "weight"),
        ("vit", "weight"),
        ("tricky", "weight"),  # its layer that runs twice is not fitted
        ("residual", "channel"),
        ("small_cnn", "block"),
        ("small_cnn", "projected-block"),
    ],
)
def test_a_compensated_profile_is_that_of_a_plain_loop(name: str, granularity: GranularityName) -> None:
    model, calibration = build(name), some_samples()
    spec = spec_of(granularity, 4).model_copy(update={"compensate": True})
    got = measure_profile(model, calibration.images[:1], spec, calibration)
    expected = plain_profile(model, spec, calibration)
    rtol = 0.3 if granularity == "channel" else 1e-2  # the pull of a fit differs between masked and cut layers
    for part in expected.distortion:
        np.testing.assert_allclose(got.distortion[part], expected.distortion[part], rtol=rtol, atol=1e-5, err_msg=part)


@pytest.mark.parametrize("granularity", ["channel", "weight"])
def test_a_hundred_levels_measure_each_count_of_units_once(granularity: GranularityName) -> None:
    model, calibration = build("residual"), some_samples()
    parts = view(model, granularity, calibration.images[:1]).parts
    counts = {part.name: {units_at(part, level) for level in levels_of(101)} - {part.units} for part in parts}
    profile = measure_profile(model, calibration.images[:1], spec_of(granularity, 101), calibration)
    dense = len(parts)  # once for each part
    assert calibration.evaluations - dense == sum(map(len, counts.values()))
    for part in parts:
        if part.units <= 100:
            assert counts[part.name] == set(range(part.floor, part.units))
        assert max(map(len, counts.values())) <= 100
        assert len(profile.distortion[part.name]) == len(profile.levels) == 101


def test_samples_that_do_not_fit_in_memory_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calibration = build("residual"), some_samples()
    at_once = measured(model, "weight", calibration)
    monkeypatch.setattr(profiling, "MEMORY", 1)
    in_turns = measured(model, "weight", calibration)
    for part, curve in at_once.worst_distortion.items():
        np.testing.assert_allclose(in_turns.worst_distortion[part], curve, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("granularity", [*CRITERION, *BLOCKS])
def test_network_stays_as_it_was(granularity: GranularityName) -> None:
    model = build("residual").train()
    model.get_submodule("head").requires_grad_(False)
    before = copy.deepcopy(model)
    measured(model, granularity, some_samples())
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in before.state_dict().items())


def test_only_what_depends_on_a_change_is_computed_anew() -> None:
    model, images = as_if_trained(hub.build("resnet20", 10, 3, 0.25)), some_samples().inputs
    replay = Replay(model, images)
    convolutions = {step for step in replay.dependents(replay.state) if "convolution" in str(step.target)}
    assert len(convolutions) == 19
    assert not any(
        "batch_norm" in str(step.target) for step in replay.dependents(replay.state)
    )  # batch norms are folded
    last = replay.dependents({"block3_3.conv2.weight"})
    assert len(last & convolutions) == 1
    logits, values = replay.run(images, replay.read_by([last]))
    assert torch.equal(replay.rerun(last, values), logits)
    with torch.no_grad():
        model.get_parameter("block3_3.conv2.weight").mul_(2)
        model.get_parameter("block1_1.conv1.weight").zero_()  # the rerun does not know of this change
        assert not torch.equal(replay.rerun(last, values), logits)
        model.get_parameter("block3_3.conv2.weight").div_(2)
        assert torch.equal(replay.rerun(last, values), logits)


def test_parquet_brings_a_profile_back(tmp_path: Path) -> None:
    profile = Profile((0.0, 0.1, 1.0), 0.987654321, CURVE, CURVE, dict(reversed(CURVE.items())), CURVE, CURVE)
    assert from_parquet(to_parquet(profile)) == profile
    older = replace(profile, right={})  # of a version that had no shares, and of a task without hits
    assert from_parquet(to_parquet(older)) == older
    (tmp_path / "p.parquet").write_bytes(to_parquet(profile))
    first = {"part": "block.conv", "sparsity": 0.0} | dict.fromkeys(CURVES, 0.1 + 0.2)
    assert pq.read_table(tmp_path / "p.parquet").to_pylist()[0] == first


def test_calibration_takes_the_first_training_samples_at_most() -> None:
    splits = sources.load(DataSpec(max_train=100))
    for size, taken in ((30, 30), (1000, 100)):
        samples = calibration_samples(splits, size, torch.device("cpu"))
        assert samples.content[1].tolist() == splits.train.labels[:taken].tolist()
        pixels = torch.tensor(splits.train.images[:taken]) / 255
        expected = (pixels - torch.tensor(splits.mean)[:, None, None]) / torch.tensor(splits.std)[:, None, None]
        torch.testing.assert_close(samples.inputs, expected)
    few = calibration_samples(splits, 30, torch.device("cpu"))
    assert np.bincount(few.content[1], minlength=10).tolist() == [3] * 10
