"""Latency as a cost of widths, against terms worked out by hand and times that follow a known rule."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.models.cifar import resnet20
from trainables.models.vit import vit
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.pruning.latency_cost import PICOSECONDS, latency_terms
from trainables.pruning.masks import Weights
from trainables.pruning.width_cost import Extent

EXAMPLE = torch.zeros(1, 3, 8, 8)


def chain() -> nn.Sequential:
    """Two convolutions of one kind, one of another kind and a linear layer; parts of 4, 6 and 5 channels."""
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(6, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)),
    )


def test_terms_of_a_chain_are_those_worked_out_by_hand() -> None:
    a, b, c = 2, 3, 4  # channels that stay
    terms = Channels(chain(), EXAMPLE).latency_terms()
    macs = [3 * a * 9 * 64, a * b * 9 * 64, b * c * 64, c * 2]
    assert terms(np.array([a, b, c])).tolist() == [
        *(1, sum(macs)),
        *(macs[0] + macs[1], (a + b) * 64, (3 + a) * 64),  # of 3 x 3 filters: products, outputs, inputs
        *(macs[2], c * 64, b * 64),
        *(macs[3], 2, c),
    ]


def test_attention_is_priced_by_its_heads() -> None:
    """The products of attention, which have no weights, count among all products, and fall with the heads."""
    channels = Channels(vit(10, 3, 0.5), torch.zeros(1, 3, 32, 32))
    units = np.array([part.units for part in channels.parts])
    heads = np.array([part.name.endswith("qkv") for part in channels.parts])
    terms, fewer = channels.latency_terms(), np.where(heads, 1, units)
    assert heads.any()
    assert terms(units)[1] == channels.cost(units, "macs")
    assert terms(fewer)[1] == channels.cost(fewer, "macs") < channels.cost(units, "macs")


def test_a_block_costs_its_share_and_masks_cost_nothing() -> None:
    model = resnet20(10, 3, 0.5)
    example = torch.zeros(1, 3, 16, 16)
    blocks, weights = Blocks(model, example), Weights(model, example)
    kept = np.array([1, 0, 2])
    assert blocks.latency_terms()(kept).tolist() == [1, 1, 0, 2]
    assert weights.latency_terms()(np.array([part.floor for part in weights.parts])).tolist() == [1]


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.floats(0.0, 100.0), min_size=11, max_size=11), st.integers(0, 99))
def test_prices_that_networks_really_have_are_found_again(prices: list[float], seed: int) -> None:
    """Times are exactly a sum of terms with prices >= 0; unseen networks are then predicted exactly."""
    channels = Channels(chain(), EXAMPLE)
    terms, random = channels.latency_terms(), np.random.default_rng(seed)
    units = np.array([part.units for part in channels.parts])
    kept = np.concatenate([units[None], random.integers(1, units + 1, (60, len(units)))])
    scale = np.array([1e-3, *[1e-6] * 10])
    ms = terms(kept) @ (np.array(prices) * scale) + 1e-3
    latency = terms.fitted(kept[:40], ms[:40])
    assert latency(kept[40:]) / PICOSECONDS == pytest.approx(ms[40:], rel=1e-4)


def test_a_smaller_network_is_never_slower_whatever_was_measured() -> None:
    channels, random = Channels(resnet20(10, 3, 0.5), torch.zeros(1, 3, 16, 16)), np.random.default_rng(0)
    units = np.array([part.units for part in channels.parts])
    kept = random.integers(1, units + 1, (40, len(units)))
    channels.latency = channels.latency_terms().fitted(kept, random.uniform(0.5, 2.0, 40))
    for _ in range(200):
        larger = random.integers(1, units + 1)
        smaller = random.integers(1, larger + 1)
        assert channels.cost(smaller, "latency") <= channels.cost(larger, "latency")


def test_terms_of_one_kind_have_one_price() -> None:
    one: Extent = np.array([1, 0]), 0
    other: Extent = np.array([0, 1]), 0
    terms = latency_terms([("constant", 1, []), ("a", 2, [one]), ("a", 3, [other]), ("b", 1, [one, other])], 2)
    kept = np.array([[1, 1], [2, 1], [1, 2], [3, 3]])
    assert terms(kept).tolist() == [[1, 5, 1], [1, 7, 2], [1, 8, 2], [1, 15, 9]]
    latency = terms.fitted(kept, terms(kept) @ np.array([0.5, 0.25, 0.125]))
    assert latency.prices.tolist() == pytest.approx([0.5e9, 0.5e9, 0.75e9, 0.125e9], rel=1e-6)
