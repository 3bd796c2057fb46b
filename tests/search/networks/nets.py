"""Networks that tests inspect by their names, "tests.search.networks.nets:bert": functions as a user writes them."""

import torch
from torch import Tensor, nn

from tests.trainables.models.networks import Recurrent, Signal


class Attentive(nn.Module):
    """Patches with learned places, one attention, and a hidden layer."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, 16, 4, 4)
        self.place = nn.Parameter(torch.randn(1, 4, 16))
        self.attend, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)
        self.hidden, self.head = nn.Linear(16, 24), nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, C, 8, 8) to logits (B, classes)."""
        x = self.norm(self.patches(x).flatten(2).mT + self.place)
        logits: Tensor = self.head(self.hidden(x + self.attend(x, x, x, need_weights=False)[0]).relu().mean(1))
        return logits


class Single(nn.Linear):
    """A linear layer that takes one sample only."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features (1, F) to logits (1, classes)."""
        return super().forward(x.view(1, -1))


class Wordy(nn.Linear):
    """A linear layer that returns no tensor."""

    def forward(self, x: Tensor) -> str:  # type: ignore[override]
        """Map features (B, F) to words."""
        return str(super().forward(x))


def attentive(num_classes: int, in_channels: int) -> nn.Module:
    return Attentive(num_classes, in_channels)


def bert(num_classes: int, in_channels: int) -> nn.Module:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    model: nn.Module = BertModel(BertConfig(vocab_size=20, **sizes))
    return model


def llama(num_classes: int, in_channels: int) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    model: nn.Module = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes))
    return model


def signal(num_classes: int, in_channels: int) -> nn.Module:
    return Signal()


def recurrent(num_classes: int, in_channels: int) -> nn.Module:
    return Recurrent()


def features(num_classes: int, in_channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(in_channels, 8), nn.ReLU(), nn.Linear(8, num_classes))


def linear(num_classes: int, in_channels: int) -> nn.Module:
    return nn.Linear(in_channels, num_classes)


def single(num_classes: int, in_channels: int) -> nn.Module:
    return Single(in_channels, num_classes)


def wordy(num_classes: int, in_channels: int) -> nn.Module:
    return Wordy(in_channels, num_classes)
