"""The contract of channels, on networks of many kinds.

A cut network computes what the masked one computes. Its weights and multiply-accumulates are as counted. It is rebuilt
from its tensors, copied, trained and exported.
"""

import copy
import io
from functools import lru_cache

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained, assert_same
from tests.trainables.models.library_networks import LIBRARY_NETWORKS
from tests.trainables.models.networks import NETWORKS, Pixels
from trainables.checkpoints.checkpoint import resize
from trainables.models.layers import count
from trainables.models.libraries import with_logits
from trainables.models.widths import cut_sizes, set_sizes
from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts

HELD = {  # network -> layers that keep their channels, beside those of its output, and why
    "signal": {"body.3": "copy in body.6"},
    "own": {"mix": "trilinear in mix", "heads": "bmm", "qkv": "bmm", "attend.out_proj": "the network's output"},
    "shufflenet_v2_x0_5": {},
}
PRUNED = (
    *("vit", "swin", "swin_v2", "maxvit", "convnext", "mobilenet_v3_small", "shufflenet_v2_x0_5", "r3d"),
    *("signal", "unet", "own", "language model"),
    *LIBRARY_NETWORKS,
)
LARGE = ("googlenet", "lraspp_mobilenet_v3_large", "fcn_resnet")  # which take long
EVERY = pytest.mark.parametrize("name", PRUNED)


@lru_cache(maxsize=1)
def network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build, example_of = (NETWORKS | LIBRARY_NETWORKS)[name]
    model = build()
    if name in ("lraspp_mobilenet_v3_large", "fcn_resnet"):
        model = Pixels(model)
    return as_if_trained(model), example_of()


def halves(channels: Channels, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        part.name: torch.randperm(part.units, generator=draw)[: max(part.floor, part.units // 2)].sort().values
        for part in channels.parts
    }


def cut_of(model: nn.Module, example: Tensor) -> nn.Module:
    smaller = copy.deepcopy(model)
    channels = Channels(smaller, example)
    channels.remove(halves(channels))
    return smaller


@pytest.mark.parametrize("name", [*PRUNED, *LARGE])
@torch.no_grad()
def test_the_cut_network_is_the_masked_one_and_costs_what_is_counted(name: str) -> None:
    model, example = network(name)
    whole, smaller = copy.deepcopy(model), copy.deepcopy(model)
    channels, masked = Channels(smaller, example), Channels(whole, example)
    kept = halves(channels)
    before = whole(example)
    masked.mask(kept)
    expected = whole(example)
    channels.remove(kept)
    assert_same(smaller(example), expected)
    assert (before - expected).abs().max() > 1e-3 * before.abs().max()
    widths, counted = np.array([len(kept[part.name]) for part in channels.parts]), count(smaller, {}, example)
    assert channels.cost(widths, "params") == counted.params_kept
    assert channels.cost(widths, "macs") == counted.macs_kept
    dense = np.array([part.units for part in channels.parts])
    assert channels.cost(dense, "macs") == count(model, {}, example).macs_kept > counted.macs_kept
    masked.unmask()
    refuse_unsound_cuts(model, example)


@EVERY
def test_the_cut_network_is_rebuilt_copied_trained_and_cut_again(name: str) -> None:
    model, example = network(name)
    smaller = cut_of(model, example)
    expected = smaller(example).detach()
    again = (NETWORKS | LIBRARY_NETWORKS)[name][0]().eval()
    set_sizes(again, cut_sizes(smaller))
    resize(again, smaller.state_dict())
    again.load_state_dict(smaller.state_dict())
    assert torch.equal(again(example), expected)
    twin = copy.deepcopy(again)
    optimizer = torch.optim.SGD(twin.parameters(), 0.01)
    twin.train()(torch.cat([example, example])).square().mean().backward()
    optimizer.step()
    assert torch.equal(again(example), expected)
    assert any((one != other).any() for one, other in zip(twin.parameters(), again.parameters(), strict=True))
    refuse_unsound_cuts(again, example)


@pytest.mark.parametrize("name", ["hf vit", "bert", "distilbert", "gpt2", "llama", "vit", "swin"])
@torch.no_grad()
def test_attention_that_is_cut_to_one_head_is_kept_by_the_next_cut(name: str) -> None:
    model, example = network(name)
    smaller = copy.deepcopy(model)
    channels = Channels(smaller, example)
    heads = {part.name: part.units for part in channels.parts if part.units <= 4}
    assert heads
    channels.remove({part: torch.tensor([units - 1]) for part, units in heads.items()})
    whole = copy.deepcopy(smaller)
    again, masked = Channels(smaller, example), Channels(whole, example)
    assert {*heads} <= {*again.held}
    assert {part.name for part in again.parts} == {part.name for part in channels.parts} - {*heads}
    kept = halves(again)
    masked.mask(kept)
    expected = whole(example)
    again.remove(kept)
    assert_same(smaller(example), expected)
    masked.unmask()
    refuse_unsound_cuts(smaller, example)


def test_heads_are_cut_where_views_infer_the_width_of_heads_or_the_batch() -> None:
    torch.manual_seed(0)
    layers = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 40}
    model = with_logits(transformers.DebertaV2ForSequenceClassification, vocab_size=50, **layers).eval()
    example = torch.randint(1, 50, (1, 9))
    attention = "deberta.encoder.layer.0.attention.self"
    assert {part.name: part.units for part in Channels(model, example).parts}[f"{attention}.query_proj"] == 4
    refuse_unsound_cuts(model, example)


@pytest.mark.parametrize("name", ["vit", "swin", "maxvit", "deit", "hf vit"])
def test_the_cut_network_is_exported(name: str) -> None:
    model, example = network(name)
    smaller = cut_of(model, example)
    program = torch.export.export(smaller, (example,))
    assert_same(program.module()(example), smaller(example))
    torch.export.save(program, io.BytesIO())


@pytest.mark.parametrize("name", HELD)
def test_only_these_layers_keep_their_channels(name: str) -> None:
    model, example = network(name)
    held = Channels(model, example).held
    if name == "shufflenet_v2_x0_5":  # channels that blocks shuffle stay
        assert {reason.split(" in ")[0] for reason in held.values()} == {"split", "the network's output"}
    else:
        assert held.items() >= HELD[name].items()
    for other in ("vit", "swin", "swin_v2", "maxvit", "convnext", "unet"):
        if name == "signal":
            assert {*Channels(*network(other)).held.values()} == {"the network's output"}


def test_recurrent_layers_are_refused_by_their_name() -> None:
    with pytest.raises(ValueError, match=r"has none; not pruned: .*lstm.* \(LSTM lstm\).*; use granularity 'weight'"):
        Channels(*network("recurrent"))
