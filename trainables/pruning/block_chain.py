"""The blocks that images run through one after the other, found by running the network once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from trainables.models.layers import run_watched

_FOLLOWERS = tuple(f"torch.nn.modules.{kind}" for kind in ("activation", "batchnorm", "instancenorm", "normalization"))


@dataclass(frozen=True)
class Block:
    """Modules that run one after the other, the first and the last of them on one image of these shapes."""

    modules: tuple[str, ...]  # names
    inputs: tuple[int, ...]  # (C, H, W)
    outputs: tuple[int, ...]  # (C, H, W)

    @property
    def name(self) -> str:
        """Name of its first module."""
        return self.modules[0]

    @property
    def keeps_shape(self) -> bool:
        """Tell whether what comes out may take the place of what goes in, and the other way round."""
        return self.inputs == self.outputs


@dataclass(frozen=True, eq=False)
class _Call:
    """One run of a module."""

    name: str
    module: nn.Module
    taken: Tensor  # (1, C, H, W)
    given: Tensor  # (1, C, H, W)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        return [module for module in self.module.modules() if isinstance(module, nn.Conv2d)]


def find_chain(model: nn.Module, example: Tensor) -> tuple[Block, ...]:
    """Find the blocks in the order in which `example` (1, C, H, W) runs through them; the model stays as it is.

    A block is what the network, or one of its plain sequences, calls once with one tensor of feature maps, and gets one
    back: a module with convolutions inside, whatever it does with them; or a convolution together with the norm and the
    activation that follow at once. A depthwise convolution belongs to the pointwise one behind it.
    """
    blocks: list[list[_Call]] = []
    for call in _calls(model, example):
        if call.convolutions:
            if not (blocks and _is_depthwise(blocks[-1]) and _is_pointwise(call) and _follows(call, blocks[-1])):
                blocks.append([])
            blocks[-1].append(call)
        elif blocks and _is_open(blocks[-1]) and _follows(call, blocks[-1]) and _may_follow(call.module):
            blocks[-1].append(call)
    return tuple(
        Block(tuple(call.name for call in calls), tuple(calls[0].taken.shape[1:]), tuple(calls[-1].given.shape[1:]))
        for calls in blocks
    )


def _calls(model: nn.Module, example: Tensor) -> list[_Call]:
    """Run the network and list, in order, what is called once and maps feature maps to feature maps."""
    calls: list[_Call] = []
    runs: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hear(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            runs[name] = runs.get(name, 0) + 1
            if len(inputs) == 1 and _is_maps(inputs[0]) and _is_maps(output):
                calls.append(_Call(name, module, inputs[0], output))

        return module.register_forward_hook(hear)

    run_watched(model, example, [watch(name, module) for name, module in _pieces(model)])
    return [call for call in calls if runs[call.name] == 1]


def _pieces(model: nn.Module, above: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield what blocks are made of: the children, those of plain sequences in place of them."""
    for own, child in model.named_children():
        name = f"{above}{own}"
        if isinstance(child, nn.ModuleList) or (_is_sequence(child) and not _is_conv_block(child)):
            yield from _pieces(child, f"{name}.")
        else:
            yield name, child


def _is_sequence(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward


def _is_conv_block(module: nn.Module) -> bool:
    """Tell whether this is one convolution with norms and activations, all of which come and go together."""
    children = list(module.children())
    is_leaf = not any(True for child in children for _ in child.children())
    return is_leaf and sum(isinstance(child, nn.Conv2d) for child in children) == 1


def _is_maps(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dim() == 4


def _follows(call: _Call, block: list[_Call]) -> bool:
    return call.taken is block[-1].given


def _is_open(block: list[_Call]) -> bool:
    """Tell whether what follows may still belong to a block: it ends in a bare convolution and what has joined it."""
    return isinstance(block[0].module, nn.Conv2d)


def _may_follow(module: nn.Module) -> bool:
    return type(module).__module__ in _FOLLOWERS


def _is_depthwise(block: list[_Call]) -> bool:
    convolutions = [conv for call in block for conv in call.convolutions]
    return len(convolutions) == 1 and convolutions[0].groups == convolutions[0].in_channels > 1


def _is_pointwise(call: _Call) -> bool:
    sizes = [conv.kernel_size for conv in call.convolutions]
    return sizes == [(1, 1)] and (isinstance(call.module, nn.Conv2d) or _is_conv_block(call.module))
