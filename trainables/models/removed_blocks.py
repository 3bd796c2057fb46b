"""The modules that replace removed blocks."""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

ProjectionSpec = tuple[PositiveInt, PositiveInt, PositiveInt]  # (in_channels, out_channels, stride)
_HOOK = "_hook_of_mask"  # attribute of a masked module


class Removed(nn.Identity):
    """The identity, in place of a module of a removed block."""


class AddsNothing(nn.Module):
    """Returns zeros, in place of a module of a removed residual branch, so that the sum behind the branch adds nothing.

    The zeros have the shape of the first input. Settings of the module that stood here, such as `batch_first`, stay, as
    a module around it may read them. Its parameters are None.
    """

    def __init__(self, instead: nn.Module, returned: int) -> None:
        """instead: the module that stood here. returned: values in the tuple that it returns; 0 for a tensor."""
        super().__init__()
        settings = {key: value for key, value in vars(instead).items() if isinstance(value, bool | int | float | str)}
        vars(self).update(settings)
        self.returned = returned
        for key in instead._parameters:
            self.register_parameter(key, None)
        self.register_forward_hook(keep_off_fast_path)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor | None, ...]:
        """Return zeros, and None for further values."""
        inputs = (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor) and each.is_floating_point())
        zeros = torch.zeros_like(next(inputs))
        return (zeros, *[None] * (self.returned - 1)) if self.returned else zeros


def keep_off_fast_path(*_: object) -> None:
    """Do nothing, as a hook: `nn.TransformerEncoderLayer` calls its modules if one of them has a hook."""


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


def mask_module(module: nn.Module, replacement: nn.Module) -> None:
    """Make a module compute what its replacement computes, until `unmask_module`. Its parameters stay."""
    unmask_module(module)
    vars(module)["forward"] = replacement  # hides the method of the class
    vars(module)[_HOOK] = module.register_forward_hook(keep_off_fast_path)


def unmask_module(module: nn.Module) -> None:
    """Make a module compute again what its class computes."""
    vars(module).pop("forward", None)
    if hook := vars(module).pop(_HOOK, None):
        hook.remove()


def remove_blocks(
    model: nn.Module,
    removed: tuple[str, ...],
    projections: Mapping[str, ProjectionSpec],
    branches: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Remove modules from a network in place.

    Args:
        model: the network before the removal.
        removed: names of the modules that become the identity.
        projections: name of the module -> its projection, for modules that a projection replaces.
        branches: name of the module -> as for `AddsNothing`, for modules of residual branches.

    Raises:
        ValueError: the network has no module of a name, for example after a change to a user's own model.
    """
    try:
        for name in removed:
            model.set_submodule(name, Removed(), strict=True)
        for name, spec in projections.items():
            model.set_submodule(name, Projection(spec).train(model.training), strict=True)
        for name, returned in branches.items():
            model.set_submodule(name, AddsNothing(model.get_submodule(name), returned), strict=True)
    except AttributeError as error:
        raise ValueError(
            f"removed blocks must be modules of the {type(model).__name__}, but: {error}; use the code that was pruned"
        ) from None


def removed_modules(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the removed modules that are the identity now."""
    return tuple(name for name, module in model.named_modules() if isinstance(module, Removed))


def removed_branches(model: nn.Module) -> dict[str, int]:
    """Return the removed modules of residual branches, as `remove_blocks` takes them."""
    return {name: module.returned for name, module in model.named_modules() if isinstance(module, AddsNothing)}


def projections(model: nn.Module) -> dict[str, ProjectionSpec]:
    """Return the projections of a network: name -> (in_channels, out_channels, stride)."""
    return {name: module.spec for name, module in model.named_modules() if isinstance(module, Projection)}
