"""The modules that replace removed blocks."""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from pydantic import PositiveInt
from torch import nn

ProjectionSpec = tuple[PositiveInt, PositiveInt, PositiveInt]  # (in_channels, out_channels, stride)


class Removed(nn.Identity):
    """The identity, in place of a module of a removed block."""


class Projection(nn.Sequential):
    """A 1x1 convolution and a batch norm, in place of a removed block that changes the shape of its input.

    Untrained, it passes its input on. With at least as many outputs as inputs, output channel i copies input channel
    i mod in_channels. With fewer outputs, output channel i is the mean of the input channels j with j mod out_channels
    = i. This initialisation is ours.
    """

    def __init__(self, spec: ProjectionSpec) -> None:
        in_channels, out_channels, stride = spec
        conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        fewer = min(in_channels, out_channels)
        copies = torch.arange(out_channels)[:, None] % fewer == torch.arange(in_channels) % fewer
        with torch.no_grad():
            conv.weight.copy_((copies / copies.sum(1, keepdim=True))[:, :, None, None])
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
        self.spec = spec


def remove_blocks(model: nn.Module, removed: tuple[str, ...], projections: Mapping[str, ProjectionSpec]) -> None:
    """Remove modules from a network in place.

    Args:
        model: the network before the removal.
        removed: names of the modules that become the identity.
        projections: name of the module -> its projection, for modules that a projection replaces.

    Raises:
        ValueError: the network has no module of a name, for example after a change to a user's own model.
    """
    try:
        for name in removed:
            model.set_submodule(name, Removed(), strict=True)
        for name, spec in projections.items():
            model.set_submodule(name, Projection(spec).train(model.training), strict=True)
    except AttributeError as error:
        raise ValueError(
            f"removed blocks must be modules of the {type(model).__name__}, but: {error}; use the code that was pruned"
        ) from None


def removed_modules(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the removed modules that no projection replaces."""
    return tuple(name for name, module in model.named_modules() if isinstance(module, Removed))


def projections(model: nn.Module) -> dict[str, ProjectionSpec]:
    """Return the projections of a network: name -> (in_channels, out_channels, stride)."""
    return {name: module.spec for name, module in model.named_modules() if isinstance(module, Projection)}
