"""A layer that is not pruned is named with the operation that keeps it whole, and is pruned without this operation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.allocation.budget import total
from trainables.allocation.policies import POLICIES
from trainables.models import hub
from trainables.pruning.channels import Channels
from trainables.pruning.granularities import view
from trainables.pruning.soundness import refuse_unsound_cuts

EXAMPLE = torch.zeros(1, 3, 6, 6)


class Net(nn.Module):
    """A convolution whose channels pass an operation, a second one whose channels do not, and a linear layer."""

    def __init__(self, operation: Callable[["Net", Tensor], Tensor] | None, width: int = 8) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(width, 12, 3), nn.Linear(12, 5)
        self.norm, self.groups = nn.LayerNorm(8), nn.GroupNorm(2, 8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.wider = nn.Conv2d(8, 16, 1, groups=8)
        self.operation = operation

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(images).relu()
        x = self.operation(self, x) if self.operation else x
        logits: Tensor = self.head(self.b(x).relu().mean((2, 3)))
        return logits


def layer_norm(net: Net, x: Tensor) -> Tensor:
    normed: Tensor = net.norm(x.permute(0, 2, 3, 1))
    return normed.permute(0, 3, 1, 2)


def attention(net: Net, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    seen: Tensor = net.attention(tokens, tokens, tokens, need_weights=False)[0]
    return seen.transpose(1, 2).reshape(x.shape)


def repeated(net: Net, x: Tensor) -> Tensor:
    return x * x.mean(1, keepdim=True).expand(-1, 8, -1, -1)


PASSED: dict[str, tuple[Callable[[Net, Tensor], Tensor], dict[str, int]]] = {  # operation -> units of the first parts
    "layer norm": (layer_norm, {"a": 8}),
    "group norm": (lambda net, x: net.groups(x), {"a": 4}),  # a position in each group
    "scale": (lambda net, x: x * net.scale, {"a": 8}),
    "attention": (attention, {"a": 8, "attention.q_proj": 2, "attention.out_proj": 8}),
    "split": (lambda net, x: torch.cat(x.chunk(2, 1), 1), {"a": 4}),  # a position in both halves
}


@pytest.mark.parametrize("name", PASSED)
def test_channels_pass_operations_that_know_them(name: str) -> None:
    operation, units = PASSED[name]
    net = Net(operation)
    prunable = Channels(net, EXAMPLE)
    assert {part.name: part.units for part in prunable.parts} == {**units, "b": 12}
    assert prunable.held == {"head": "the network's output"}
    refuse_unsound_cuts(net, EXAMPLE)


HOLDERS: dict[str, tuple[Callable[[Net, Tensor], Tensor], int]] = {
    "slice": (lambda net, x: x[:, 1:5], 4),
    "unbind": (lambda net, x: torch.stack(x.unbind(1), 1), 8),
    "mean": (repeated, 8),
    "softmax": (lambda net, x: x.softmax(1), 8),
    "convolution with groups in wider": (lambda net, x: net.wider(x), 16),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_the_operation_that_is_named_keeps_the_channels(name: str) -> None:
    operation, width = HOLDERS[name]
    prunable = Channels(Net(operation, width), EXAMPLE)
    assert prunable.held["a"].startswith(name)
    assert [part.name for part in prunable.parts] == ["b"]
    without = Channels(Net(None), EXAMPLE)
    assert without.held == {"head": "the network's output"}
    assert {part.name for part in without.parts} == {"a", "b"}


def test_a_network_without_prunable_channels_names_what_keeps_them() -> None:
    class Normed(Net):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.norm(self.a(images).mean((2, 3))).cumsum(1))
            return logits

    net = Normed(None)
    net.head = nn.Linear(8, 5)
    with pytest.raises(
        ValueError, match=r"Normed has none; not pruned: a \(cumsum\), head \(.*\); use granularity 'weight'"
    ):
        Channels(net, EXAMPLE)


def test_channels_that_are_joined_in_part_go_only_together() -> None:
    class Joined(Net):
        more: nn.ModuleDict

        def forward(self, images: Tensor) -> Tensor:
            x = self.b(torch.cat([self.a(images), self.more["a"](images)], 1))
            x = x + torch.cat([self.more["c"](images), self.more["d"](images)], 1)
            logits: Tensor = self.head(x.relu().mean((2, 3)))
            return logits

    net = Joined(None, 16)
    net.b = nn.Conv2d(16, 12, 1)
    net.more = nn.ModuleDict({"a": nn.Conv2d(3, 8, 3), "c": nn.Conv2d(3, 4, 3), "d": nn.Conv2d(3, 8, 3)})
    prunable = Channels(net, EXAMPLE)  # 4 + 8 channels are added to 12
    assert prunable.held == {"head": "the network's output"}
    assert {part.name: part.units for part in prunable.parts} == {"a": 8, "b": 4, "b#2": 8, "more.a": 8}
    refuse_unsound_cuts(net, EXAMPLE)


def test_frozen_layers_are_pruned() -> None:
    net = Net(None)
    net.a.requires_grad_(False)
    assert "a" not in Channels(net, EXAMPLE).held


@pytest.mark.parametrize("expanded", [False, True])
def test_squeeze_and_excitation_keeps_no_channel(expanded: bool) -> None:
    class Gated(Net):
        gate: nn.Linear

        def forward(self, images: Tensor) -> Tensor:
            x = self.a(images).relu()
            gate = self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]
            logits: Tensor = self.head(self.b(x * (gate.expand_as(x) if expanded else gate)).mean((2, 3)))
            return logits

    net = Gated(None)
    net.gate = nn.Linear(8, 8)
    prunable = Channels(net, EXAMPLE)
    assert prunable.held == {"head": "the network's output"}
    assert {layer.name for part in prunable.parts for layer in part.layers} == {"a", "gate", "b"}
    refuse_unsound_cuts(net, EXAMPLE)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny", "regnet_x_400mf"])
def test_every_layer_is_pruned_or_named(name: str) -> None:
    with torch.random.fork_rng():
        prunable = Channels(hub.build(name, 10, 3), torch.zeros(1, 3, 64, 64))
    pruned = {layer.name for part in prunable.parts for layer in part.layers}
    assert not pruned & prunable.held.keys()
    assert pruned | prunable.held.keys() == {layer.name for layer in prunable.layers}


def test_a_floor_that_is_too_high_names_what_stays() -> None:
    prunable = Channels(hub.build("resnet20", 10, 3), torch.zeros(1, 3, 32, 32), 16)
    with pytest.raises(ValueError, match=r"at most 0\.\d+; not pruned: ") as refusal:
        total(prunable, 0.99, "params")
    named = str(refusal.value).partition("not pruned: ")[2]
    assert " (round_to 16)" in named
    assert f" and {len(prunable.held) - 3} more" in named


def test_round_to_and_policies_are_named() -> None:
    net = Net(None)
    net.b, net.head = nn.Conv2d(8, 20, 3), nn.Linear(20, 5)
    prunable = Channels(net, EXAMPLE, 8)
    assert prunable.held == {"a": "round_to 8", "head": "the network's output"}
    with pytest.raises(
        ValueError, match=r"; not pruned: a \(round_to 8\), head .*; round_to keeps a multiple of up to 8"
    ):
        total(prunable, 0.9, "params")
    weights = view(net, "weight", EXAMPLE)
    assert not weights.held
    with pytest.raises(ValueError, match=r"at most 0\.\d+; not pruned: a \(the policy keeps it dense\)$"):
        total(weights, 0.95, "params", POLICIES["uniform-plus"].least(weights))


@pytest.mark.parametrize(("granularity", "others"), [("block", True), ("projected-block", False)])
def test_blocks_that_stay_are_named(granularity: Any, others: bool) -> None:
    prunable = view(hub.build("resnet20", 10, 3), granularity, torch.zeros(1, 3, 32, 32))
    expected = {"stem": "the first block", "head": "in no block"}
    changes = dict.fromkeys(("block2_1", "block3_1"), "changes the shape")
    assert prunable.held == (expected | changes if others else expected)
    keep = np.array([part.floor for part in prunable.parts])
    with pytest.raises(ValueError, match=r"not pruned: "):
        total(prunable, 1 - (prunable.cost(keep, "params") - 1) / 268336, "params")
