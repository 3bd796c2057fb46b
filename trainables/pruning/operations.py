"""The operations of a traced network: which ones channels can pass, and the name of one that keeps channels whole."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from trainables.models.cifar import PadShortcut

_SAFE_OPERATIONS = {  # a reshape is safe where it flattens; otherwise `soundness` refuses the network
    tp.ops.OPTYPE.CONV,
    tp.ops.OPTYPE.DEPTHWISE_CONV,
    tp.ops.OPTYPE.LINEAR,
    tp.ops.OPTYPE.BN,
    tp.ops.OPTYPE.PRELU,
    tp.ops.OPTYPE.ELEMENTWISE,
    tp.ops.OPTYPE.CONCAT,
    tp.ops.OPTYPE.RESHAPE,
    tp.ops.OPTYPE.OUTPUT,
}

# Patterns of torch's names of functions that treat each channel by itself.
_BY_CHANNEL = (
    *("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh"),
    *("softplus", "threshold", "native_dropout", "clone", "t"),
    *("max_pool.*", "avg_pool.*", "adaptive_.*", "upsample_.*"),
)
_ARITHMETIC = ("add", "sub", "mul", "div", "pow")  # do so unless the other operand has a fixed number of channels


def is_known(node: Any) -> bool:
    """Tell whether channels can be removed from what passes this operation."""
    if node.type in (tp.ops.OPTYPE.CONV, tp.ops.OPTYPE.DEPTHWISE_CONV) and not isinstance(node.module, nn.Conv2d):
        return False  # a convolution of one or three dimensions, or transposed
    if node.type == tp.ops.OPTYPE.DEPTHWISE_CONV and not is_depthwise(node.module):
        return False  # Torch-Pruning handles its outputs only
    if node.type == tp.ops.OPTYPE.EXPAND:
        return _keeps_channels(node.grad_fn)
    slices_pixels = node.type == tp.ops.OPTYPE.SLICE and node.module.dim in (2, 3)
    return slices_pixels or node.type in _SAFE_OPERATIONS or isinstance(node.module, PadShortcut)


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Tell whether each channel has a group of its own, so that the channel can go with its group."""
    return conv.groups == conv.in_channels == conv.out_channels > 1


def _keeps_channels(expand: Any) -> bool:
    """Tell whether an expansion repeats no channel: it repeats dimensions of extent 1, and channels are dimension 1."""
    sizes: list[int] = list(getattr(expand, "_saved_self_sym_sizes", []))
    return len(sizes) in (2, 4) and sizes[1] > 1


def first_of(nodes: Iterable[Any], names: Mapping[Any, str]) -> str:
    """Name the first of some operations, and the number of the others. names: modules and parameters -> name."""
    first, *others = dict.fromkeys(nodes)
    return f"{_name(first, names)}{f' and {len(others)} more' if others else ''}"


def joined(nodes: Sequence[Any], names: Mapping[Any, str]) -> str:
    """Name the operation by which channels cannot go one by one: a concatenation, or the groups of a convolution."""
    joins = [node for node in nodes if node.type == tp.ops.OPTYPE.CONCAT]
    grouped = [node for node in nodes if isinstance(node.module, nn.Conv2d) and node.module.groups > 1]
    return first_of(joins or grouped, names) if joins or grouped else "its channels go only together"


def _name(node: Any, names: Mapping[Any, str]) -> str:
    """Name an operation: a module by its class and name, a parameter by its name, a function as torch calls it."""
    if node.module in names:
        kind = "parameter" if isinstance(node.module, nn.Parameter) else type(node.module).__name__
        groups = " with groups" if getattr(node.module, "groups", 1) != 1 else ""
        return f"{kind} {names[node.module]}{groups}"
    return _function(node.grad_fn)


def suspects(nodes: Iterable[Any]) -> tuple[str, ...]:
    """Name the functions that may mix channels or know their number, if cuts are not sound; arithmetic comes last."""
    functions = [node for node in nodes if node.type in (tp.ops.OPTYPE.ELEMENTWISE, tp.ops.OPTYPE.RESHAPE)]
    named = [_function(node.grad_fn) for node in functions if not _spares_channels(node.grad_fn)]
    found = dict.fromkeys(name for name in named if not re.fullmatch("|".join(_BY_CHANNEL), name))
    return tuple(sorted(found, key=lambda name: name in _ARITHMETIC))


def _spares_channels(grad_fn: Any) -> bool:
    """Tell whether a function reduces dimensions, and not that of the channels. Negative ones are unsigned here."""
    dims = getattr(grad_fn, "_saved_dim", None)
    return isinstance(dims, tuple) and all(1 < dim < 4 for dim in dims)


def _function(grad_fn: Any) -> str:
    """Name a function as torch does: split_with_sizes for SplitWithSizesBackward0; a class of the user's as it is."""
    name = re.sub(r"Backward\d*$", "", grad_fn.name() if hasattr(grad_fn, "name") else type(grad_fn).__name__)
    if isinstance(grad_fn, torch.autograd.function.BackwardCFunction):
        return name
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\dD)(?=[A-Z])", "_", name).lower()
