"""Small networks of timm and transformers, with random weights: a module and an example of its input."""

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
import torch
import transformers
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

from trainables.models.libraries import with_logits

_VIT = {"num_classes": 5, "img_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 3}
_BERT = {"vocab_size": 50, "max_position_embeddings": 20, "num_labels": 4}
_LAYERS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
_DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 40}
_LLAMA = {**_LAYERS, "num_attention_heads": 8, "num_key_value_heads": 4, "tie_word_embeddings": True}
_GPT2 = {"vocab_size": 50, "n_positions": 20, "n_embd": 32, "n_layer": 2, "n_head": 4} | dict.fromkeys(
    ("bos_token_id", "eos_token_id"), 0
)


def _timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return partial(timm.create_model, name, pretrained=False, **settings)


def _hf(name: str, **config: Any) -> Callable[[], nn.Module]:
    return partial(with_logits, getattr(transformers, name), **config)


def _image(side: int) -> Tensor:
    return torch.randn(1, 3, side, side)


def _tokens() -> Tensor:
    return torch.randint(1, 50, (1, 9))


LIBRARY_NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "deit": (_timm("deit_tiny_patch16_224", patch_size=8, **_VIT), lambda: _image(16)),
    "vit with registers": (_timm("vit_small_patch14_reg4_dinov2", patch_size=8, **_VIT), lambda: _image(16)),
    "mixer": (partial(MlpMixer, 5, 16, 3, 4, 2, 24), lambda: _image(16)),
    "mobilevit": (_timm("mobilevit_xxs", num_classes=5), lambda: _image(32)),  # convolutions and attention
    "hf vit": (_hf("ViTForImageClassification", image_size=16, patch_size=8, **_LAYERS), lambda: _image(16)),
    "bert": (_hf("BertForSequenceClassification", **_LAYERS, **_BERT), _tokens),
    "distilbert": (_hf("DistilBertForSequenceClassification", **_DISTILBERT, **_BERT), _tokens),
    "gpt2": (_hf("GPT2LMHeadModel", **_GPT2), _tokens),
    "llama": (_hf("LlamaForCausalLM", vocab_size=50, **_LLAMA), _tokens),
}
