"""A small language model as Llama is built: grouped queries, rotary positions, its own norm, gated units."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.pruning.channels import Channels
from trainables.pruning.soundness import refuse_unsound_cuts


class RootNorm(nn.Module):
    """Root-mean-square norm by single operations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))


class Layer(nn.Module):
    """Attention of 6 heads, of which two share a key and a value, and a gated MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.after = RootNorm(20), RootNorm(20)
        self.q, self.k, self.v, self.o = (
            nn.Linear(*shape, bias=False) for shape in ((20, 24), (20, 12), (20, 12), (24, 20))
        )
        self.gate, self.up, self.down = nn.Linear(20, 30), nn.Linear(20, 30), nn.Linear(30, 20)

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        """Map (B, T, 20) to the same shape. angles: (T, 4)."""
        y = self.norm(x)
        q, k, v = (each(y).view(*y.shape[:2], -1, 4).transpose(1, 2) for each in (self.q, self.k, self.v))
        q, k = (each * angles.cos() + torch.cat([-each[..., 2:], each[..., :2]], -1) * angles.sin() for each in (q, k))
        k, v = (each[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for each in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        y = self.after(x)
        hidden: Tensor = self.down(F.silu(self.gate(y)) * self.up(y))
        return x + hidden


class Llama(nn.Module):
    """One layer, and a head with the weight of the embedding."""

    angles: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer, self.norm = nn.Embedding(30, 20), Layer(), RootNorm(20)
        self.head = nn.Linear(20, 30, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("angles", torch.rand(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, T, 30)."""
        places = torch.arange(x.shape[1], device=x.device)
        logits: Tensor = self.head(self.norm(self.layer(self.embed(x), places[:, None] * self.angles)))
        return logits


def test_a_unit_is_a_key_value_head_with_its_query_heads() -> None:
    torch.manual_seed(0)
    model, tokens = Llama().eval(), torch.randint(30, (1, 7))
    channels = Channels(model, tokens)
    assert channels.held == {}
    units = {part.units: {layer.name for layer in part.layers} for part in channels.parts}
    assert units == {
        3: {"layer.q", "layer.k", "layer.v"},
        20: {"layer.o", "layer.down"},
        30: {"layer.gate", "layer.up"},
    }
    refuse_unsound_cuts(model, tokens)
    q, k = model.layer.q.weight.detach().clone(), model.layer.k.weight.detach().clone()
    (heads,) = (part.name for part in channels.parts if part.units == 3)
    channels.remove({heads: torch.tensor([1])})
    assert torch.equal(model.layer.q.weight, q[8:16])
    assert torch.equal(model.layer.k.weight, k[4:8])
    assert model.head.weight is model.embed.weight
    assert model(tokens).shape == (1, 7, 30)
