"""What stands where a block was, in a network that has lost some of its blocks."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from pydantic import PositiveInt
from torch import nn

ProjectionSpec = tuple[PositiveInt, PositiveInt, PositiveInt]  # (in_channels, out_channels, stride)


class Removed(nn.Identity):
    """Passes on what it gets: a module of a block that is gone."""


class Projection(nn.Sequential):
    """A 1x1 convolution and a batch norm in place of a block that changes the shape of what runs through it.

    Before any training it passes on what it gets: each output channel copies an input channel, by turns where there are
    more outputs, and is the mean of several where there are fewer (ours: no paper says what to start from).
    """

    def __init__(self, extents: ProjectionSpec) -> None:
        inputs, outputs, stride = extents
        conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        fewer = min(inputs, outputs)
        copies = torch.arange(outputs)[:, None] % fewer == torch.arange(inputs) % fewer
        with torch.no_grad():
            conv.weight.copy_((copies / copies.sum(1, keepdim=True))[:, :, None, None])
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))
        self.extents = extents


def remove_blocks(model: nn.Module, removed: tuple[str, ...], projections: Mapping[str, ProjectionSpec]) -> None:
    """Take blocks out of a network in place: the modules that nothing stands in for, and those that a projection does.

    Raises ValueError for a name that the network does not have, as after a change to a user's own model.
    """
    try:
        for name in removed:
            model.set_submodule(name, Removed(), strict=True)
        for name, extents in projections.items():
            model.set_submodule(name, Projection(extents).train(model.training), strict=True)
    except AttributeError as error:
        raise ValueError(f"the blocks removed must be those of a {type(model).__name__}, but: {error}") from None


def removed_modules(model: nn.Module) -> tuple[str, ...]:
    """Name the modules that are gone and have nothing in their place."""
    return tuple(name for name, module in model.named_modules() if isinstance(module, Removed))


def projections(model: nn.Module) -> dict[str, ProjectionSpec]:
    """Name the projections that stand in for blocks, and tell how they are built."""
    return {name: module.extents for name, module in model.named_modules() if isinstance(module, Projection)}
