"""Spaces: which parts share a parameter, worked by hand, and parameters that are found again from densities."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search.methods.spaces import FAMILY, SMALLEST, SPACES, Space
from tests.trainables.parts import part_names
from trainables.data_spec import DataSpec
from trainables.names import GranularityName
from trainables.spec import DenseSpec, TrialSpec

FIXED = settings(deadline=None, max_examples=25, derandomize=True)
OWN = ("vgg16", "resnet20", "mobilenet")
THEIRS = ("resnet18", "efficientnet_b0")


def flat(num_classes: int, in_channels: int) -> nn.Module:
    """Make a model with one resolution, whose head is a second module."""
    features = nn.Sequential(nn.Conv2d(in_channels, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.ReLU())
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))


def cell(model: str, granularity: GranularityName = "weight") -> TrialSpec:
    ours = model in OWN
    dense = DenseSpec(model=model, width=0.125 if ours else 1.0, data=DataSpec(size=32 if ours else 64))
    return TrialSpec(dense=dense, granularity=granularity)


def groups(name: str, model: str, granularity: GranularityName = "weight") -> dict[str, set[str]]:
    """Return the parts that each parameter changes."""
    space = SPACES[name](cell(model, granularity), None)
    moved = {}
    for parameter in space.distributions:
        params = dict.fromkeys(space.distributions, 0.5) | {parameter: 1.0}
        moved[parameter] = {part for part, density in space.densities(params).items() if density == 1.0}
    return moved


def test_stages_of_vgg16_are_those_between_its_pools() -> None:
    stages = groups("stages", "vgg16")
    for n, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        assert stages[f"stage{n}"] == {f"block{n}_{c}.conv" for c in range(1, convolutions + 1)}
    assert stages["head"] == {"head"}
    assert groups("stages", "vgg16", "channel") == {name: parts for name, parts in stages.items() if name != "head"}


def test_stages_of_resnet20_hold_what_is_as_large_as_their_residual_stream() -> None:
    stages = groups("stages", "resnet20")
    blocks = {n: {f"block{n}_{b}.conv{c}" for b in (1, 2, 3) for c in (1, 2)} for n in (1, 2, 3)}
    assert stages == {
        "stage1": {"stem.conv"} | blocks[1],
        "stage2": blocks[2],
        "stage3": blocks[3],
        "head": {"head"},
    }
    inner = {n: {f"block{n}_{b}.conv1" for b in (1, 2, 3)} for n in (1, 2, 3)}
    assert groups(
        "stages", "resnet20", "channel"
    ) == {  # each stage has its residual stream beside the channels within blocks
        "stage1": {"stem.conv"} | inner[1],
        "stage2": {"block2_1.conv2"} | inner[2],
        "stage3": {"block3_1.conv2"} | inner[3],
    }


def test_squeezed_layers_see_one_pixel_and_are_no_head() -> None:
    stages = groups("stages", "efficientnet_b0")
    assert stages["stage6"] == {name for name in part_names(cell("efficientnet_b0")) if ".fc" in name}
    assert stages["head"] == {"classifier.1"}


def test_a_block_is_what_one_module_holds() -> None:
    blocks = groups("blocks", "resnet18")
    assert blocks["layer2.0"] == {"layer2.0.conv1", "layer2.0.conv2", "layer2.0.downsample.0"}
    assert len(blocks) == 8 + 2
    assert blocks["conv1"] == {"conv1"}
    assert blocks["fc"] == {"fc"}
    assert groups("blocks", "mobilenet") == groups("layers", "mobilenet")  # its blocks are only sequences


@pytest.mark.parametrize("granularity", ["weight", "channel", "block", "projected-block"])
@pytest.mark.parametrize("model", [*OWN, *THEIRS])
def test_every_space_gives_every_part_a_density(model: str, granularity: GranularityName) -> None:
    parts = part_names(cell(model, granularity))
    importances = dict(zip(parts, np.linspace(0.02, 0.9, len(parts)).tolist(), strict=True))
    for build in SPACES.values():
        space = build(cell(model, granularity), importances)
        for params in (lowest(space), highest(space)):
            densities = space.densities(params)
            assert set(densities) == set(parts)
            assert all(0 < density <= 1 for density in densities.values())
            assert space.expresses(densities)


def lowest(space: Space) -> dict[str, float]:
    return {name: distribution.low for name, distribution in space.distributions.items()}


def highest(space: Space) -> dict[str, float]:
    return {name: distribution.high for name, distribution in space.distributions.items()}


def test_a_space_of_one_density_is_refused_in_favour_of_larger_ones() -> None:
    with pytest.raises(
        ValueError, match=r"at least 2 densities, but 'stages' has 1 for the channels of .*flat"
    ) as error:
        SPACES["stages"](cell("tests.search.methods.test_spaces:flat", "channel"), None)
    assert str(error.value).endswith("; use one of: layers (2), blocks (2), family (2)")


def test_the_family_bends_capacity() -> None:
    capacity = {"a": 0.8, "b": 0.4, "c": 0.05}
    space = SPACES["family"](cell("vgg16"), capacity)
    assert space.densities({"exponent": 1, "offset": 0}) == pytest.approx({"a": 1, "b": 0.5, "c": 0.0625})
    assert space.densities({"exponent": 0, "offset": 0.2}) == pytest.approx(dict.fromkeys("abc", 1))
    assert space.densities({"exponent": 2, "offset": 0.25}) == pytest.approx({"a": 1, "b": 0.4, "c": 0.203125})
    assert space.nearest(capacity) == pytest.approx({"exponent": 1, "offset": 0}, abs=1e-3)
    assert not space.expresses({"a": 0.1, "b": 0.2, "c": 0.3})
    with pytest.raises(ValueError, match=r"'family' must start from a result .* vgg16 at sparsity 0\.5"):
        SPACES["family"](cell("vgg16"), None)


def test_tied_parts_may_differ_by_less_than_a_hundredth() -> None:
    space = SPACES["stages"](cell("resnet20"), None)
    even = space.densities(dict.fromkeys(space.distributions, 0.3))
    assert space.expresses(even | {"block2_1.conv1": 0.302})
    assert not space.expresses(even | {"block2_1.conv1": 0.31})


relative = st.floats(np.log(SMALLEST), 0.0).map(np.exp).map(float)


@FIXED
@given(st.lists(relative, min_size=4, max_size=4), st.floats(0.01, 1.0))
def test_tied_densities_are_found_again_whatever_their_factor(values: list[float], factor: float) -> None:
    space = SPACES["stages"](cell("resnet20"), None)
    params = dict(zip(space.distributions, values, strict=True))
    densities = {part: factor * density for part, density in space.densities(params).items()}
    assert space.nearest(densities) == pytest.approx({name: p / max(values) for name, p in params.items()})
    assert space.expresses(densities)


WEIGHTS = st.lists(st.floats(0.001, 1.0), min_size=3, max_size=20)


@FIXED
@given(WEIGHTS, st.floats(*FAMILY["exponent"]), st.floats(*FAMILY["offset"]), st.floats(0.01, 1.0))
def test_densities_of_the_family_are_found_again(
    weights: list[float], exponent: float, offset: float, factor: float
) -> None:
    space = SPACES["family"](cell("vgg16"), {str(n): weight for n, weight in enumerate(weights)})
    densities = space.densities({"exponent": exponent, "offset": offset})
    found = space.nearest({part: factor * density for part, density in densities.items()})
    assert all(low <= found[name] <= high for name, (low, high) in FAMILY.items())
    assert space.expresses(densities)


@given(st.floats(0.2, 3.0), st.floats(0.001, 0.5))
@FIXED
def test_so_are_its_parameters_where_parts_differ(exponent: float, offset: float) -> None:
    space = SPACES["family"](cell("vgg16"), {str(n): 0.5**n for n in range(6)})
    params = {"exponent": exponent, "offset": offset}
    assert space.nearest(space.densities(params)) == pytest.approx(params, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["stages", "family"])
@FIXED
@given(seed=st.integers(0, 10_000))
def test_no_other_parameters_come_nearer(name: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    parts = part_names(cell("resnet20"))
    wanted = dict(zip(parts, np.exp(draw.uniform(-2.0, 0.0, len(parts))).tolist(), strict=True))
    space = SPACES[name](cell("resnet20"), dict(zip(parts, draw.uniform(0.01, 1.0, len(parts)).tolist(), strict=True)))
    least = distance(space.densities(space.nearest(wanted)), wanted)
    for _ in range(20):
        other = {name: draw.uniform(d.low, d.high) for name, d in space.distributions.items()}
        assert distance(space.densities(other), wanted) >= least - 1e-9


def distance(densities: Mapping[str, float], wanted: Mapping[str, float]) -> float:
    """Return the sum of squared differences of the logarithms, at the factor that minimises it."""
    off = np.log([densities[part] / wanted[part] for part in wanted])
    return float(np.square(off - off.mean()).sum())
