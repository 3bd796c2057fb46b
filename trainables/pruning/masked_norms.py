"""Norms that take their statistics over some channels only, at full width."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.widths import fit_widths

_MASK = "_mask_of_channels"  # attribute of a norm: the handle of its hook


def mask_norm(norm: nn.Module, dim: int, kept: Tensor) -> None:
    """Make a norm ignore all channels but `kept`, in place. It returns 0 for the others.

    dim: of the channels in its input. kept: (kept,) channels in rising order. A hook does this, as hooks also keep
    `nn.TransformerEncoderLayer` from its fast path, which does not call its norms.
    """
    unmask_norms(norm)  # a mask before this one
    narrow = copy.deepcopy(norm)
    width = max((len(parameter) for parameter in norm.parameters()), default=0)
    for name, parameter in list(narrow.named_parameters()):
        if len(parameter) == width:
            part = parameter.detach().index_select(0, kept.to(parameter.device))
            setattr(narrow, name, nn.Parameter(part, parameter.requires_grad))
    fit_widths(narrow)

    def normalise(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        channels = kept.to(output.device)
        return torch.zeros_like(output).index_copy(dim, channels, narrow(inputs[0].index_select(dim, channels)))

    norm.__dict__[_MASK] = norm.register_forward_hook(normalise)


def has_masked_norms(model: nn.Module) -> bool:
    """Tell whether `mask_norm` has changed what a norm of a network computes."""
    return any(_MASK in module.__dict__ for module in model.modules())


def unmask_norms(model: nn.Module) -> None:
    """Undo `mask_norm` for all norms of a network."""
    for module in model.modules():
        if handle := module.__dict__.pop(_MASK, None):
            handle.remove()
