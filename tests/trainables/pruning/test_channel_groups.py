from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.catalog import feasibility
from trainables.models.layers import weight_of
from trainables.pruning.channels import Channels
from trainables.pruning.granularities import view
from trainables.pruning.soundness import refuse_unsound_cuts
from trainables.spec import DenseSpec, TrialSpec

EXAMPLE = torch.zeros(1, 3, 6, 6)


class Net(nn.Module):
    """Three convolutions and a linear layer, connected by a function."""

    def __init__(self, wiring: Callable[..., Any], classes_in: int = 8, c_in: int = 3) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(3, 8, 3, padding=1)
        self.c = nn.Conv2d(c_in, 16, 3, padding=1)
        self.head = nn.Linear(classes_in, 5)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.wiring(self, x)
        return logits


def part_names(model: nn.Module) -> set[str]:
    return {part.name for part in Channels(model, EXAMPLE).parts}


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def plain(n: Net, x: Tensor) -> Any:
    return n.head(pooled(n.a(x).relu()))


def sum_with_concat(n: Net, x: Tensor) -> Any:
    return n.head(pooled((n.c(x) + torch.cat([n.a(x), n.b(x)], 1)).relu()))


def also_an_output(n: Net, x: Tensor) -> Any:
    seen = n.a(x).relu()
    return torch.cat([pooled(seen), n.head(pooled(n.c(seen).relu()))], 1).tanh()


def normalised(n: Net, x: Tensor) -> Any:
    x = n.a(x)
    return n.head(pooled((x - x.mean(1, keepdim=True)).relu()))


def shuffled(n: Net, x: Tensor) -> Any:
    x = n.c(x)
    mixed = x.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
    return n.head(pooled(mixed.relu()))


def of_fixed_width(n: Net, x: Tensor) -> Any:
    return n.head(pooled(n.a(x).view(len(x), 8, 6, 6).relu()))


def scaled_by_width(n: Net, x: Tensor) -> Any:
    x = n.a(x)
    return n.head(pooled((x / x.shape[1]).relu()))


def flattened(n: Net, x: Tensor) -> Any:
    return n.head(n.a(x).relu().flatten(1))


def split(n: Net, x: Tensor) -> Any:
    one, other = n.c(x).chunk(2, 1)
    return n.head(pooled((n.a(x) + one * other.sigmoid()).relu()))


@pytest.mark.parametrize(("wiring", "classes_in"), [(plain, 8), (flattened, 8 * 36)])
def test_sound_networks_pass(wiring: Any, classes_in: int) -> None:
    model = Net(wiring, classes_in)
    assert part_names(model) == {"a"}
    refuse_unsound_cuts(model, EXAMPLE)


def test_layer_that_is_an_output_as_well_keeps_its_width() -> None:
    model = Net(also_an_output, 16, c_in=8)
    assert part_names(model) == {"c"}
    refuse_unsound_cuts(model, EXAMPLE)


@pytest.mark.parametrize(
    ("wiring", "classes_in", "parts"),
    [
        (split, 8, {"a": (8, {"a", "c"})}),  # channel i of a with channels i and i + 8 of c
        (sum_with_concat, 16, {"a": (8, {"a", "c"}), "b": (8, {"b", "c"})}),
        (shuffled, 16, {"c": (8, {"c"})}),  # a position in both groups
    ],
)
def test_channels_of_part_of_a_layer_are_units(wiring: Any, classes_in: int, parts: dict[str, Any]) -> None:
    model = Net(wiring, classes_in)
    units = {part.name: (part.units, {layer.name for layer in part.layers}) for part in Channels(model, EXAMPLE).parts}
    assert units == parts
    refuse_unsound_cuts(model, EXAMPLE)


def test_a_mean_over_channels_holds_them() -> None:
    with pytest.raises(ValueError, match=r"but Net has none; not pruned: a \(mean\), head \(.*\); use granularity"):
        Channels(Net(normalised), EXAMPLE)


@pytest.mark.parametrize("wiring", [of_fixed_width, scaled_by_width])
def test_networks_that_would_be_cut_wrongly_are_refused(wiring: Any) -> None:
    model = Net(wiring)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with pytest.raises(
        ValueError, match=r"granularity 'channel' must remove channels of a Net as if .*use granularity 'weight'"
    ):
        refuse_unsound_cuts(model, EXAMPLE)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    view(model, "weight", EXAMPLE)


def grouped(channels_out: int, groups: int) -> Net:
    """Two convolutions and a linear layer, in a row; the second convolution has groups."""
    model = Net(lambda n, x: n.head(pooled(n.c(n.a(x).relu()).relu())), channels_out)
    model.c = nn.Conv2d(8, channels_out, 3, groups=groups)
    return model


def test_channels_of_a_grouped_convolution_go_from_all_its_groups() -> None:
    model = grouped(16, groups=4)  # two inputs and four outputs a group
    first, second = (weight_of(layer).clone() for layer in (model.a, model.c))
    view_of = Channels(model, EXAMPLE)
    assert {part.name: (part.units, part.floor) for part in view_of.parts} == {"c": (4, 2), "a": (2, 1)}
    assert view_of.cost(np.array([1, 2]), "params") == 4 * 27 + 8 * 1 * 9 + 8 * 5
    refuse_unsound_cuts(model, EXAMPLE)
    view_of.remove({"a": torch.tensor([1]), "c": torch.tensor([0, 3])})
    assert torch.equal(weight_of(model.a), first[[1, 3, 5, 7]])
    assert torch.equal(weight_of(model.c), second[[0, 3, 4, 7, 8, 11, 12, 15]][:, [1]])
    assert model.head.in_features == 8


@pytest.mark.parametrize(
    ("channels_out", "groups", "parts"),
    [
        (24, 8, {"c": 3}),  # a depthwise convolution of three filters a channel: its input cannot go alone
        (24, 2, {"a": 4, "c": 12}),
        (8, 8, {"a": 8}),  # a plain depthwise one
    ],
)
def test_units_around_grouped_convolutions(channels_out: int, groups: int, parts: dict[str, int]) -> None:
    model = grouped(channels_out, groups)
    assert {part.name: part.units for part in Channels(model, EXAMPLE).parts} == parts
    refuse_unsound_cuts(model, EXAMPLE)


def test_one_filter_for_several_channels_keeps_its_width() -> None:
    model = grouped(4, groups=4)
    assert {part.name: part.units for part in Channels(model, EXAMPLE).parts} == {"a": 2}
    refuse_unsound_cuts(model, EXAMPLE)


def test_grouped_convolutions_around_a_sum_share_their_units() -> None:
    model = Net(lambda n, x: n.head(pooled((n.c(n.a(x)) + n.b(n.a(x))).relu())), 16, c_in=8)
    model.b = nn.Conv2d(8, 16, 3, padding=1, groups=2)
    model.c = nn.Conv2d(8, 16, 3, padding=1, groups=4)
    units = {part.name: part.units for part in Channels(model, EXAMPLE).parts}
    assert sorted(units.values()) == [2, 4]  # of a: every second channel; of b and c: every fourth
    refuse_unsound_cuts(model, EXAMPLE)


def test_wrong_cuts_are_found_behind_a_layer_of_zeros() -> None:
    model = Net(scaled_by_width)
    nn.init.zeros_(model.head.weight)
    with pytest.raises(ValueError, match="the cut network has another output"):
        refuse_unsound_cuts(model, EXAMPLE)


USERS_MODULE = """
from torch import nn

class Centred(nn.Module):
    def forward(self, x):
        return x / x.shape[1]

def build(num_classes, in_channels):
    conv = nn.Conv2d(in_channels, 8, 3)
    return nn.Sequential(conv, Centred(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))
"""


def test_study_is_refused_before_any_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "centred_net.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    spec = TrialSpec(dense=DenseSpec(model="centred_net:build"), granularity="channel", criterion="l1")
    (complaint,) = feasibility.unreachable([spec, spec.model_copy(update={"sparsity": 0.9})])
    assert complaint.startswith("centred_net:build: granularity 'channel' must remove channels of a Sequential as if")
    assert feasibility.unreachable([spec.model_copy(update={"granularity": "weight", "criterion": "magnitude"})]) == []


def test_wrong_count_of_removed_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = Channels.cost
    monkeypatch.setattr(Channels, "cost", lambda *args: cost(*args) + 1)
    with pytest.raises(ValueError, match="its layers lose another number of weights than was counted"):
        refuse_unsound_cuts(Net(plain), EXAMPLE)
