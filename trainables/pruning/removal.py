"""Positions of stored tensors: removed, or ignored by all that reads them."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.models.parameters import owners_of
from trainables.models.widths import HEADS, HEADS_TIMES_WIDTH, PARTS, WIDTHS, counts_its_heads, fit_widths, set_size
from trainables.tracing.labels import Ids
from trainables.tracing.trace import Trace

Removed: TypeAlias = Mapping[tuple[str, int], list[int]]  # name of a tensor, dimension -> positions


def kept_of(trace: Trace, at: tuple[str, int], removed: Removed) -> Tensor:
    """Return the positions that stay along a dimension, in rising order."""
    return torch.from_numpy(np.setdiff1d(np.arange(len(trace.stored[at])), removed[at]))


def remove(model: nn.Module, trace: Trace, removed: Removed, sizes: Mapping[tuple[str, str], int]) -> None:
    """Remove positions from stored tensors in place, and tell the modules.

    sizes: module, name of its attribute -> new value.
    """
    owners = owners_of(model)
    for at in removed:
        kept = kept_of(trace, at, removed)
        module, _, key = at[0].rpartition(".")
        owner = model.get_submodule(module)
        if isinstance(owner, PadShortcut):
            (owner.keep_outputs if key == "source" else owner.keep_inputs)(kept.tolist())
            continue
        before: Tensor = getattr(owner, key)
        after = before.detach().index_select(at[1], kept.to(before.device))
        if not isinstance(before, nn.Parameter):
            setattr(owner, key, after)
            continue
        parameter = nn.Parameter(after.contiguous(), before.requires_grad)
        for _, sharer, name in owners.pop(before):
            setattr(sharer, name, parameter)
        owners[parameter] = [(module, owner, key)]
    for each in model.modules():
        fit_widths(each)
    for (path, attribute), size in sizes.items():
        set_size(model.get_submodule(path), attribute, size)


def sizes_without(model: nn.Module, trace: Trace, gone: Ids) -> dict[tuple[str, str], int]:
    """Find the attributes of modules that give a number of heads or a width to views, and their values after a cut.

    gone: the labels of the units that go. Returns module, name of its attribute -> value.
    """
    sizes = dict[tuple[str, str], int]()
    for split in trace.splits:
        module, axes = model.get_submodule(split.module), trace.labels.varies(split.ids)
        if len(axes) != 1 or counts_its_heads(module):
            continue
        along = np.moveaxis(split.ids, axes[0], 0).reshape(split.ids.shape[axes[0]], -1)[:, 0]
        before, left = len(along), int((~np.isin(trace.labels.find(along), gone)).sum())
        if left == before:
            continue
        width = split.ids.shape[-1] if axes[0] < split.ids.ndim - 1 else 0  # of a head
        named = dict.fromkeys(WIDTHS if split.ids.ndim == 1 else HEADS + PARTS, (before, left))
        named |= dict.fromkeys(HEADS_TIMES_WIDTH, (before * width, left * width)) if width else {}
        for attribute, (old, new) in named.items():
            if old == getattr(module, attribute, None):
                sizes[split.module, attribute] = new
    return sizes


@torch.no_grad()
def silence(model: nn.Module, removed: Removed, read: set[tuple[str, int]]) -> None:
    """Make all that reads these positions ignore them, in place: products over them, and shortcuts that copy them."""
    for (tensor, dim), positions in removed.items():
        module, _, key = tensor.rpartition(".")
        owner = model.get_submodule(module)
        if isinstance(owner, PadShortcut):
            if key == "in_channels":
                source = owner.source
                source[torch.isin(source, torch.tensor(positions, device=source.device))] = -1
        elif (tensor, dim) in read:
            weight: Tensor = getattr(owner, key)
            weight.index_fill_(dim, torch.tensor(positions, device=weight.device), 0.0)
