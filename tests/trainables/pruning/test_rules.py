"""Rules for layers: which parts they match, in how many units, and which rules have no effect."""

import re
from copy import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.mistakes import checked
from trainables.models import hub
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Part, Prunable
from trainables.pruning.rules import bounded, rounded, without_effect
from trainables.pruning_spec import LayerRule


def resnet(granularity: GranularityName, *rules: LayerRule, round_to: int = 1) -> Prunable:
    torch.manual_seed(0)
    return view(hub.build("resnet20", 10, 3, 0.5), granularity, torch.zeros(1, 3, 16, 16), round_to, rules)


def bounds(prunable: Prunable) -> dict[str, tuple[float, float]]:
    return {part.name: (part.least / part.units, part.most / part.units) for part in prunable.parts if part.bounds}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keep": 1.0}, "a rule must name its layers, but has neither match nor type; add one"),
        ({"match": "a"}, "a rule must say what its layers keep; add keep: 1.0, density, at_least or at_most"),
        ({"match": "a", "keep": 0.5}, "keep must be 1.0, which keeps all units, but got 0.5; for a share use density"),
        ({"type": "a", "keep": 1.0, "density": 0.5}, "only one of keep, density and a range, but got keep and density"),
        ({"type": "a", "density": 0.5, "at_most": 0.5}, "but got density and at_most; leave one out"),
        ({"match": "a", "at_least": 0.8, "at_most": 0.3}, "at_least must not exceed at_most, but got 0.8 and 0.3"),
        ({"match": "a", "density": 1.5}, "density must be less than or equal to 1, but got 1.5"),
        ({"match": "a", "densty": 0.5}, "did you mean 'density'?"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        checked(LayerRule, values)
    assert "\n" not in str(error.value)


def test_labels_are_short() -> None:
    rules = [
        LayerRule(match="heads*", keep=1.0),
        LayerRule(match="*.conv1", at_least=0.3, at_most=0.8),
        LayerRule(type="Linear", density=0.5),
        LayerRule(match="a.*", type="Linear", at_most=0.8),
        LayerRule(match="b", at_least=0.3),
    ]
    assert [rule.label for rule in rules] == [
        "heads* keep 1",
        "*.conv1 0.3 to 0.8",
        "Linear 0.5",
        "a.* Linear at most 0.8",
        "b at least 0.3",
    ]


def test_the_first_rule_that_matches_a_weight_matrix_counts() -> None:
    ruled = resnet(
        "weight",
        LayerRule(match="block1_1.*", keep=1.0),
        LayerRule(match="*.conv1", at_least=0.25, at_most=0.75),
        LayerRule(type="Linear", density=0.5),
    )
    assert bounds(ruled) == {
        "block1_1.conv1": (1.0, 1.0),
        "block1_1.conv2": (1.0, 1.0),
        **{f"block{n}.conv1": (0.25, 0.75) for n in ("1_2", "1_3", "2_1", "2_2", "2_3", "3_1", "3_2", "3_3")},
        "head": (0.5, 0.5),
    }


def test_a_rule_for_a_layer_holds_for_all_channels_that_go_along() -> None:
    """The stem writes to the same channels as the second convolutions of the first stage."""
    free = resnet("channel")
    (stream,) = (part.name for part in free.parts if "stem.conv" in {layer.name for layer in part.layers})
    ruled = resnet("channel", LayerRule(match="block1_2.conv2", keep=1.0), LayerRule(match="stem*", density=0.5))
    assert bounds(ruled) == {stream: (1.0, 1.0), "block1_2.conv1": (1.0, 1.0)}  # the second one is what the layer reads


@pytest.mark.parametrize("name", ["head", "block1_2.conv1", "block2_1.conv2", "stem.conv"])
def test_a_layer_that_is_kept_loses_no_weight(name: str) -> None:
    ruled = resnet("channel", LayerRule(match=name, keep=1.0), LayerRule(match="*", at_most=0.5))
    (layer,) = (layer for layer in ruled.layers if layer.name == name)
    kept = {part.name: torch.arange(part.least) for part in ruled.parts}
    assert any(part.most < part.units for part in ruled.parts)
    ruled.remove(kept)
    assert tuple(ruled.model.get_parameter(layer.parameter).shape) == layer.shape


def test_a_density_says_nothing_of_what_a_layer_reads() -> None:
    assert bounds(resnet("channel", LayerRule(match="block1_2.conv2", density=1.0))).keys() == {"stem.conv"}


def test_a_rule_for_a_layer_holds_for_all_blocks_of_its_part() -> None:
    ruled = resnet("block", LayerRule(match="block2_3.conv1", at_most=0.5))
    assert bounds(ruled) == {"block2_2": (0.0, 0.5)}


def test_shares_are_whole_units() -> None:
    ruled = resnet("channel", LayerRule(match="block1_?.conv1", density=0.3), LayerRule(match="*", at_most=0.9))
    (part,) = (part for part in ruled.parts if part.name == "block1_1.conv1")
    assert (part.units, part.least, part.most) == (8, 2, 2)  # 2.4 channels
    rules = [LayerRule(match="block1_?.conv1", density=0.3), LayerRule(match="*", at_most=0.9)]
    said = {"block1_1.conv1": "2 of 8 units (0.2500), not 0.3"}
    assert said.items() <= rounded(ruled, rules).items()
    assert rounded(ruled, [LayerRule(match="block1_1.conv1", density=0.25)]) == {}


shares = st.floats(0.0, 1.0)
NETWORK = resnet("weight")


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 16), shares, shares, st.booleans())
def test_bounds_are_legal_counts_nearest_to_the_shares(
    units: int, floor: int, multiple: int, one: float, other: float, fixed: bool
) -> None:
    floor = min(units, -(-min(floor, units) // multiple) * multiple)  # as parts have it
    legal = [n for n in range(floor, units + 1) if n % multiple == 0 or n == units]
    low, high = sorted((one, other))
    rule = LayerRule(match="p", density=low) if fixed else LayerRule(match="p", at_least=low, at_most=high)
    one_part = copy(NETWORK)
    one_part.parts = (Part("p", units, floor, (), multiple),)
    (part,) = bounded(one_part, [rule]).parts
    assert part.least in legal
    assert part.most in legal
    if fixed or low == high:
        assert part.least == part.most
        assert abs(part.least - low * units) == pytest.approx(min(abs(n - low * units) for n in legal))
    else:
        assert part.least == min(n for n in legal if n >= low * units - 1e-9)  # rounded up
        below = [n for n in legal if part.least <= n <= high * units + 1e-9]  # rounded down, but not below the least
        assert part.most == max(below, default=part.least)


def reasons(granularity: GranularityName, *rules: LayerRule) -> dict[str, str]:
    return {rule.label: reason for rule, reason in without_effect(resnet(granularity), rules).items()}


def test_rules_without_effect_are_named_with_the_reason() -> None:
    typo, kind = LayerRule(match="block1_1.cnv1", keep=1.0), LayerRule(type="Linaer", density=0.5)
    assert reasons("weight", typo, kind) == {
        "block1_1.cnv1 keep 1": "no layer matches 'block1_1.cnv1'; the nearest names are block1_1.conv1, "
        "block3_1.conv1, block2_1.conv1",
        "Linaer 0.5": "no layer has the type 'Linaer'; the nearest types are Linear",
    }
    assert reasons("weight", LayerRule(match="*.conf2", keep=1.0)) == {
        "*.conf2 keep 1": "no layer matches '*.conf2'; the nearest names are block1_1.conv2, stem.conv, block1_1.conv1"
    }
    both = LayerRule(match="stem*", type="Linear", keep=1.0)
    assert "no layer matches 'stem*' and has the type 'Linear'" in reasons("weight", both)["stem* Linear keep 1"]
    late = (LayerRule(match="*", at_least=0.1), LayerRule(match="head", keep=1.0))
    assert reasons("weight", *late) == {
        "head keep 1": "earlier rules hold for all that it matches, as '* at least 0.1' for head; put it before them"
    }
    assert reasons("weight", *reversed(late)) == {}


def test_layers_without_units_may_be_kept_but_not_pruned() -> None:
    assert reasons("channel", LayerRule(match="head", keep=1.0)) == {}
    assert reasons("channel", LayerRule(type="Linear", at_least=0.2)) == {}
    (reason,) = reasons("channel", LayerRule(match="head", density=0.5)).values()
    assert reason == "all units of head stay (the network's output); leave it out"


def test_layers_that_an_earlier_pruning_may_remove_can_have_rules() -> None:
    rule = LayerRule(match="gone.*", keep=1.0)
    assert without_effect(resnet("weight"), [rule], {"gone.conv": 1}) == {}
