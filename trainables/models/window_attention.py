"""Attention in shifted windows, and over relative positions, whose heads together are narrower than its tokens.

torchvision's Swin and MaxViT compute the width of a head from the width of the tokens. The modules here keep it in
`head_width`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CLASSES = ("ShiftedWindowAttention", "RelativePositionalMultiHeadAttention")
_CUT: dict[type[nn.Module], type[nn.Module]] = {}


class _CutWindows:
    """Replaces the forward pass of torchvision's `ShiftedWindowAttention` and `ShiftedWindowAttentionV2`."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """Attend within windows: (B, H, W, C) -> (B, H, W, outputs)."""
        high, wide = x.shape[1:3]
        (wh, ww), shifts = self.window_size, list(self.shift_size)
        x = F.pad(x, (0, 0, 0, -wide % ww, 0, -high % wh))
        padded = x.shape[1:3]
        shifts = [0 if window >= extent else s for s, window, extent in zip(shifts, (wh, ww), padded, strict=True)]
        if any(shifts):
            x = torch.roll(x, (-shifts[0], -shifts[1]), (1, 2))
        rows, columns = padded[0] // wh, padded[1] // ww
        x = x.unflatten(2, (columns, ww)).unflatten(1, (rows, wh)).transpose(2, 3)  # (B, rows, columns, wh, ww, C)
        x = x.flatten(3, 4).flatten(1, 2)  # (B, windows, tokens, C)
        q, k, v = self._projections(x)
        scores = q @ k.mT + self.get_relative_position_bias()
        if any(shifts):
            scores = scores + _mask(padded, (wh, ww), shifts, x)[:, None]
        weights = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        x = F.dropout(self.proj((weights @ v).transpose(-2, -3).flatten(-2)), self.dropout, self.training)
        x = x.unflatten(1, (rows, columns)).unflatten(3, (wh, ww)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if any(shifts):
            x = torch.roll(x, shifts, (1, 2))
        return x[:, :high, :wide].contiguous()

    def _projections(self: Any, x: Tensor) -> tuple[Tensor, ...]:
        """Compute queries, keys and values: (B, windows, heads, tokens, width of a head) each."""
        scale, bias = getattr(self, "logit_scale", None), self.qkv.bias
        if scale is not None and bias is not None:  # the second version has no bias for keys
            first, second, third = bias.chunk(3)
            bias = torch.cat([first, torch.zeros_like(second), third])
        parts = F.linear(x, self.qkv.weight, bias).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (-1, self.head_width)).transpose(-2, -3) for part in parts)
        if scale is None:
            return q * self.head_width**-0.5, k, v
        q = F.normalize(q, dim=-1) * scale.clamp(max=math.log(100.0)).exp()
        return q, F.normalize(k, dim=-1), v


def _mask(padded: torch.Size, window: tuple[int, int], shifts: list[int], like: Tensor) -> Tensor:
    """Keep tokens that a shift has brought together from seeing each other: (windows, tokens, tokens)."""
    regions = []
    for extent, side, shift in zip(padded, window, shifts, strict=True):
        at = torch.arange(extent, device=like.device)
        regions.append((at >= extent - side).long() + (at >= extent - shift).long() * bool(shift))
    region = regions[0][:, None] * 3 + regions[1]
    region = region.unflatten(1, (-1, window[1])).unflatten(0, (-1, window[0])).transpose(1, 2).flatten(2).flatten(0, 1)
    return torch.where(region[:, None] == region[:, :, None], 0.0, -100.0).to(like.dtype)


class _CutRelative:
    """Replaces the forward pass of torchvision's `RelativePositionalMultiHeadAttention`."""

    def forward(self: Any, x: Tensor) -> Tensor:
        """Attend within partitions: (B, groups, tokens, C) -> (B, groups, tokens, outputs)."""
        parts = self.to_qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (-1, self.head_width)).transpose(-2, -3) for part in parts)
        weights = (q @ (k * self.scale_factor).mT + self.get_relative_positional_bias()).softmax(-1)
        merged: Tensor = self.merge((weights @ v).transpose(-2, -3).flatten(-2))
        return merged


def fit_windows(module: nn.Module) -> None:
    """Make attention compute with the heads that its tensors have. The heads keep their width."""
    if not has_windows(module):
        return
    attributes: Any = module
    windows = hasattr(module, "window_size")
    packed, name = (attributes.qkv, "num_heads") if windows else (attributes.to_qkv, "n_heads")
    if not isinstance(module, _CutWindows | _CutRelative):
        width = attributes.proj.out_features // attributes.num_heads if windows else attributes.head_dim
        module.head_width = width
    rows, columns = packed.weight.shape
    if rows != 3 * columns:
        module.__class__ = _cut(type(module), _CutWindows if windows else _CutRelative)
    setattr(module, name, rows // 3 // attributes.head_width)


def has_windows(module: nn.Module) -> bool:
    """Tell whether a module is attention that this file knows."""
    return any(each.__name__ in _CLASSES for each in type(module).__mro__)


def _cut(original: type[nn.Module], forward: type) -> type[nn.Module]:
    """Return the class with another forward pass, one for each class; a class that has it stays."""
    if issubclass(original, forward):
        return original
    if original not in _CUT:
        _CUT[original] = type(f"Cut{original.__name__}", (forward, original), {})
    return _CUT[original]
