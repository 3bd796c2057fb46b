"""Blocks of networks of timm and transformers: found, masked, removed, counted, and built again."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

from tests.trainables.conftest import as_if_trained
from trainables.models.layers import count
from trainables.models.removed_blocks import remove_blocks, removed_branches
from trainables.pruning.blocks import Blocks

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


class First(nn.Module):
    """The first tensor of what a network of transformers returns."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens or images to logits or states."""
        first: Tensor = self.net(x, return_dict=False)[0]
        return first


def bert() -> nn.Module:
    return First(transformers.BertModel(transformers.BertConfig(vocab_size=90, **SIZES), add_pooling_layer=False))


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(vocab_size=90, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    return First(transformers.DistilBertModel(config))


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=90, num_key_value_heads=2, tie_word_embeddings=True, use_cache=False, **SIZES
    )
    return First(transformers.LlamaForCausalLM(config))


def hf_vit() -> nn.Module:
    return First(transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, patch_size=8, **SIZES)))


def of_timm(name: str) -> Callable[[], Any]:
    return lambda: timm.create_model(name, img_size=32, patch_size=8, depth=2, num_classes=10)


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {  # network -> its parts
    "bert": (bert, {"net.encoder.layer.0.attention.self": 2, "net.encoder.layer.0.intermediate": 2}),
    "distilbert": (distilbert, {"net.transformer.layer.0.attention": 2, "net.transformer.layer.0.ffn": 2}),
    "llama": (llama, {"net.model.layers.0.self_attn": 2, "net.model.layers.0.mlp": 2}),
    "vit of transformers": (hf_vit, {"net.vit.layers.0.attention": 2, "net.vit.layers.0.mlp": 2}),
    "deit": (of_timm("deit_tiny_patch16_224"), {"blocks.0.attn": 2, "blocks.0.mlp": 2}),
    "layer scale": (of_timm("deit3_small_patch16_224"), {"blocks.0.attn": 2, "blocks.0.mlp": 2}),
    "parallel": (of_timm("vit_small_patch16_18x2_224"), {"blocks.0.attns.0": 2, "blocks.0.ffns.0": 2}),
}
TOKENS = ("bert", "distilbert", "llama")


@pytest.mark.parametrize("name", CASES)
def test_branches_of_library_networks_are_blocks(name: str) -> None:
    build, parts = CASES[name]
    torch.manual_seed(0)
    model = as_if_trained(build())
    inputs = torch.randint(1, 90, (2, 12)) if name in TOKENS else torch.randn(2, 3, 32, 32)
    blocks = Blocks(model, inputs[:1])
    assert {part.name: part.units for part in blocks.parts} == parts
    units = {part.name: torch.tensor([at]) for at, part in enumerate(blocks.parts)}
    with torch.no_grad():
        before = model(inputs)
        blocks.mask(units)
        expected = model(inputs)
        blocks.unmask()
        assert torch.equal(model(inputs), before)
        smaller = copy.deepcopy(model)
        Blocks(smaller, inputs[:1]).remove(units)
        assert torch.equal(smaller(inputs), expected)
        assert (before - expected).abs().max() > 1e-3 * before.abs().max()
        again = build().eval()
        remove_blocks(again, (), {}, removed_branches(smaller))
        again.load_state_dict(smaller.state_dict())
        assert torch.equal(again(inputs), expected)
    counted = count(smaller, {}, inputs[:1])
    assert [blocks.cost(np.array([1, 1]), kind) for kind in ("params", "macs")] == [
        counted.params_kept,
        counted.macs_kept,
    ]
    again.train()(inputs).square().mean().backward()
    assert sum(parameter.grad is not None for parameter in again.parameters()) > len([*again.parameters()]) / 2


def test_a_layer_that_runs_several_times_stays() -> None:
    config = transformers.AlbertConfig(vocab_size=90, embedding_size=16, **SIZES)
    with pytest.raises(
        ValueError, match=r"has none; not pruned: net\.encoder\.\S+ \(net\.encoder\.\S+ runs elsewhere, too\)"
    ):
        Blocks(First(transformers.AlbertModel(config)), torch.randint(1, 90, (1, 12)))
