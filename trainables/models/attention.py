"""Attention whose heads together are narrower than its tokens."""

from math import inf

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CutAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` that has lost heads. The heads that stay keep their width.

    torch's forward pass cannot be used: it divides the width of the tokens by the number of heads to get the width of a
    head. All tensors keep their names. `head_dim` is the width of a head, `embed_dim` the width of the output.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as `nn.MultiheadAttention` does."""
        batched, first = query.dim() == 3, self.batch_first
        tokens = [each if batched and first else each.movedim(0, -2) for each in (query, key, value)]
        weights = self._weights()
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (-1, self.head_dim)).transpose(-2, -3)
            for x, weight, bias in zip(tokens, weights, biases, strict=True)
        )  # (B, heads, tokens, width of a head)
        mask = self._mask(q, k, key_padding_mask, attn_mask)
        dropout = self.dropout if self.training else 0.0
        shown: Tensor | None = None
        if need_weights:
            scores = q @ k.mT / self.head_dim**0.5
            shown = (scores if mask is None else scores + mask).softmax(-1)
            mixed = F.dropout(shown, dropout) @ v
            shown = shown.mean(-3) if average_attn_weights else shown
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        joined = mixed.transpose(-2, -3).flatten(-2)
        output = self.out_proj(joined if batched and first else joined.movedim(-2, 0))
        return output, shown

    def _weights(self) -> tuple[Tensor, ...]:
        if self.in_proj_weight is not None:
            return self.in_proj_weight.chunk(3)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _mask(self, q: Tensor, k: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Add up the masks, as numbers: one that broadcasts to (B, heads, queries, keys)."""
        total: Tensor | None = None
        if mask is not None:
            total = _as_numbers(mask, q)
            if total.dim() == 3:
                total = total.unflatten(0, (q.shape[0], -1)) if q.dim() == 4 else total
                total = total[..., : q.shape[-3], :, :]
        if padding is not None:
            of_keys = _as_numbers(padding, q)[..., None, None, :]
            total = of_keys if total is None else total + of_keys
        return total


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -inf)
    return mask.to(like.dtype)


def fit_attention(module: nn.Module) -> None:
    """Make attention compute with the heads that its tensors have."""
    if not isinstance(module, nn.MultiheadAttention):
        return
    rows = len(module.out_proj.weight.mT)
    width = module.head_dim
    narrow = module.embed_dim != module.num_heads * width or rows != module.embed_dim
    packed = module.in_proj_weight
    if (
        narrow
        or len(module.out_proj.weight) != module.embed_dim
        or (packed is not None and packed.shape != (3 * rows, rows))
    ):
        module.__class__ = CutAttention
        module._qkv_same_embed_dim = False  # keeps nn.TransformerEncoderLayer from its fast path
    module.num_heads, module.embed_dim = rows // width, len(module.out_proj.weight)
