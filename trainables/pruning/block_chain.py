"""The chain of blocks in a network, found by running it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments
from trainables.models.layers import is_inside
from trainables.models.modes import run_with_hooks
from trainables.pruning.additions import Stream
from trainables.pruning.dataflow import follow
from trainables.pruning.residual_branches import Branch, channels_of, find_branches, proven

# the modules of norms and activations, which may follow a bare convolution in its block
_FOLLOWERS = tuple(f"torch.nn.modules.{kind}" for kind in ("activation", "batchnorm", "instancenorm", "normalization"))


@dataclass(frozen=True)
class Block:
    """Modules that run one after the other, or a residual branch, or the stream before the first branch."""

    modules: tuple[str, ...]  # names, in the order of the run; none for a stream
    inputs: tuple[int, ...]  # (C, H, W) or (channels, ...), shape of one image's input to the first module
    outputs: tuple[int, ...]  # shape of one image's output of the last module; for a branch, of the sum behind it
    channels: int = 1  # dimension of the channels of a batch of outputs
    branch: Branch | None = None
    stream: Stream | None = None  # its output, if no module returns it

    @property
    def name(self) -> str:
        """The name of the first module; of the largest one in a branch."""
        if self.branch:
            return self.branch.name if self.modules else f"before {self.branch.name}"
        return self.modules[0]

    @property
    def keeps_shape(self) -> bool:
        """Tell whether inputs and outputs have the same shape, so that the block can be skipped."""
        return self.inputs == self.outputs and bool(self.modules)


@dataclass(frozen=True, eq=False)
class _Call:
    """One run of a module from feature maps to feature maps."""

    name: str
    module: nn.Module
    input: Tensor  # (1, C, H, W)
    output: Tensor  # (1, C, H, W)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        return [module for module in self.module.modules() if isinstance(module, nn.Conv2d)]


def find_chain(model: nn.Module, example: Arguments) -> tuple[Block, ...]:
    """Find the blocks in the order in which `example` (1, ...) runs through them. The model is not changed.

    A block is one of three kinds. The first two map one tensor of feature maps to another, and run once: a module that
    contains convolutions; or a single convolution with the norm and the activation directly behind it. The module is a
    child of the network, or of a plain sequence in it. A depthwise convolution and the pointwise convolution directly
    behind it are one block. The third kind is a residual branch, such as the attention or the MLP of a transformer.
    A block that can be removed and has a branch inside of it stays one block; blocks inside of a branch are parts of
    it. If a branch comes first, the stream before it is a block without modules.
    """
    blocks = _blocks_of_maps(model, example)
    flow = follow(model, example)
    removable = [block for block in blocks[1:] if block.keeps_shape]
    branches = {
        at: branch
        for at, branch in find_branches(model, flow).items()
        if not any(_is_around(block, branch) for block in removable)
    }
    branches = dict(zip(branches, proven(model, example, [*branches.values()]), strict=True))
    ends = [(flow.end_of(block.modules[-1]), block) for block in blocks if not _inside(block, branches.values())]
    ends += [
        (at, Block(tuple(name for name, _ in each.modules), each.shape, each.shape, branch=each, stream=each.behind))
        for at, each in branches.items()
    ]
    chain = [block for _, block in sorted(ends, key=lambda end: end[0])]
    if chain and chain[0].branch:
        first = chain[0].branch
        chain.insert(0, Block((), first.shape, first.shape, branch=first, stream=first.before))
    return tuple(chain)


def _is_around(block: Block, branch: Branch) -> bool:
    """Tell whether a block has a sum and its branch inside of it, as a block of a ResNet has."""
    return any(name.startswith(f"{module}.") for module in block.modules for name, _ in branch.modules)


def _inside(block: Block, branches: Iterable[Branch]) -> bool:
    """Tell whether a removable branch has a module of a block inside of it."""
    removable = [name for branch in branches if not branch.stays for name, _ in branch.modules]
    return any(is_inside(module, removable) for module in block.modules)


def _blocks_of_maps(model: nn.Module, example: Arguments) -> list[Block]:
    """Find the blocks that consist of convolutions and what follows them."""
    blocks: list[list[_Call]] = []
    for call in _calls(model, example):
        if call.convolutions:
            if not (blocks and _is_depthwise(blocks[-1]) and _is_pointwise(call) and _follows(call, blocks[-1])):
                blocks.append([])
            blocks[-1].append(call)
        elif blocks and _is_extensible(blocks[-1]) and _follows(call, blocks[-1]) and _may_follow(call.module):
            blocks[-1].append(call)
    return [
        Block(
            tuple(call.name for call in calls),
            tuple(calls[0].input.shape[1:]),
            tuple(calls[-1].output.shape[1:]),
            channels_of(calls[-1].output.shape, 0, [call.module for call in calls], usual=1),
        )
        for calls in blocks
    ]


def _calls(model: nn.Module, example: Arguments) -> list[_Call]:
    """Run the network and list, in order, the calls of modules that run once and map feature maps to feature maps."""
    calls: list[_Call] = []
    runs: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def record(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            runs[name] = runs.get(name, 0) + 1
            if len(inputs) == 1 and _is_maps(inputs[0]) and _is_maps(output):
                calls.append(_Call(name, module, inputs[0], output))

        return module.register_forward_hook(record)

    run_with_hooks(model, example, [watch(name, module) for name, module in _candidates(model)])
    return [call for call in calls if runs[call.name] == 1]


def _candidates(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the children of a network that may be part of a block. A plain sequence yields its own children instead."""
    for child_name, child in model.named_children():
        name = f"{prefix}{child_name}"
        if isinstance(child, nn.ModuleList) or (_is_sequence(child) and not _is_conv_block(child)):
            yield from _candidates(child, f"{name}.")
        else:
            yield name, child


def _is_sequence(module: nn.Module) -> bool:
    return type(module).forward is nn.Sequential.forward


def _is_conv_block(module: nn.Module) -> bool:
    """Tell whether this sequence is one convolution with norms and activations, which is one block."""
    children = list(module.children())
    is_leaf = not any(True for child in children for _ in child.children())
    return is_leaf and sum(isinstance(child, nn.Conv2d) for child in children) == 1


def _is_maps(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.dim() == 4


def _follows(call: _Call, block: list[_Call]) -> bool:
    return call.input is block[-1].output


def _is_extensible(block: list[_Call]) -> bool:
    """Tell whether a norm or activation may join the block: only if the block starts with a bare convolution."""
    return isinstance(block[0].module, nn.Conv2d)


def _may_follow(module: nn.Module) -> bool:
    return type(module).__module__ in _FOLLOWERS


def _is_depthwise(block: list[_Call]) -> bool:
    convolutions = [conv for call in block for conv in call.convolutions]
    return len(convolutions) == 1 and convolutions[0].groups == convolutions[0].in_channels > 1


def _is_pointwise(call: _Call) -> bool:
    sizes = [conv.kernel_size for conv in call.convolutions]
    return sizes == [(1, 1)] and (isinstance(call.module, nn.Conv2d) or _is_conv_block(call.module))
