"""Which channels must go together, found by Torch-Pruning, and which of them may go at all.

Groups that reach the network's output, a grouped convolution other than a depthwise one, or an operation that mixes
channels or depends on their number (layer norm, attention, splits) keep their width.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.pruning.layers import Layer

_CUT_SAFELY = {  # a view may be a flattening; where it is anything else, `soundness` refuses the network
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


@dataclass(frozen=True)
class Side:
    """The output or input channels of a layer that go along with the units of a part."""

    layer: str
    channels: list[int]  # positions in that layer
    units: list[int]  # the unit that each of them belongs to


@dataclass(frozen=True)
class Group:
    """All layers that lose channels when their first one, the root, does."""

    root: nn.Module
    outputs: tuple[Side, ...]  # one channel for each unit
    inputs: tuple[Side, ...]  # as many channels for each unit


class _PadShortcutCut(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
    """Tells Torch-Pruning how a parameter-free shortcut loses channels on either side."""

    def prune_out_channels(self, layer: PadShortcut, idxs: list[int]) -> nn.Module:
        layer.keep_outputs(_complement(idxs, self.get_out_channels(layer)))
        return layer

    def prune_in_channels(self, layer: PadShortcut, idxs: list[int]) -> nn.Module:
        layer.keep_inputs(_complement(idxs, self.get_in_channels(layer)))
        return layer

    def get_out_channels(self, layer: PadShortcut) -> int:
        return len(layer.source)

    def get_in_channels(self, layer: PadShortcut) -> int:
        return layer.in_channels


def _complement(idxs: list[int], width: int) -> list[int]:
    gone = set(idxs)
    return [i for i in range(width) if i not in gone]


def trace(model: nn.Module, example: Tensor, layers: Mapping[str, Layer]) -> tuple[Any, dict[str, Group]]:
    """Find the groups whose channels may go, by the name of their root; also return Torch-Pruning's graph.

    Raises ValueError where the network cannot be traced, or has no such group.
    """
    graph = _graph(model, example)
    names = {module: name for name, module in model.named_modules()}
    last = [m for m in graph.module2node if names.get(m) in layers and _ends_network(graph, m)]
    groups = {}
    for group in graph.get_all_groups(ignored_layers=last, root_module_types=(nn.Conv2d, nn.Linear)):
        sides = list(_sides(graph, group, names, layers))
        root = group[0].dep.target.module
        outputs = tuple(side for is_output, side in sides if is_output)
        inputs = tuple(side for is_output, side in sides if not is_output)
        grouped = any(_is_grouped(model.get_submodule(side.layer)) for _, side in sides)
        if names.get(root) in layers and not grouped and _can_go(group, outputs, inputs):
            groups[names[root]] = Group(root, outputs, inputs)
    if not groups:
        raise ValueError(
            f"granularity 'channel' must find channels that can go, but {type(model).__name__} has none; "
            "use granularity 'weight'"
        )
    return graph, groups


def _graph(model: nn.Module, example: Tensor) -> Any:
    requires_grad = [(p, p.requires_grad) for p in model.parameters()]
    training = model.training
    graph = tp.DependencyGraph()
    try:
        for p, _ in requires_grad:  # the graph is traced through autograd
            p.requires_grad_(True)
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("error", "Maximum recursive depth")  # what follows it takes all memory
            graph.build_dependency(
                model.eval(), example, customized_pruners={PadShortcut: _PadShortcutCut()}, verbose=False
            )
    except Exception as error:
        raise ValueError(
            f"granularity 'channel' must be able to trace the network, but {type(model).__name__} failed with: "
            f"{error}; use granularity 'weight'"
        ) from error
    finally:
        model.train(training)
        for p, required in requires_grad:
            p.requires_grad_(required)
    return graph


def _sides(
    graph: Any, group: Any, names: Mapping[nn.Module, str], layers: Mapping[str, Layer]
) -> Iterator[tuple[bool, Side]]:
    for item in group:
        name = names.get(item.dep.target.module)
        if name is not None and name in layers:
            is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
            yield is_output, Side(name, list(item.idxs), list(item.root_idxs))


def _can_go(group: Any, outputs: tuple[Side, ...], inputs: tuple[Side, ...]) -> bool:
    """Tell whether only known operations are coupled, and every unit takes the same from each layer."""
    known = all(_is_known(item.dep.target) for item in group)
    units = len(group[0].idxs)
    shares = [np.bincount(side.units, minlength=units) for side in (*outputs, *inputs)]
    even = all(share.min() == share.max() for share in shares)
    return known and even and all(len(side.channels) == units for side in outputs)


def _is_known(node: Any) -> bool:
    takes_pixels = node.type == tp.ops.OPTYPE.SLICE and node.module.dim in (2, 3)
    return takes_pixels or node.type in _CUT_SAFELY or isinstance(node.module, PadShortcut)


def _ends_network(graph: Any, module: nn.Module) -> bool:
    """Tell whether what this layer computes reaches the network's output without passing another layer."""
    first = graph.module2node[module]
    seen, waiting = {first}, [first]
    while waiting:
        node = waiting.pop()
        if not node.outputs:
            return True
        further = {n for n in node.outputs if not isinstance(n.module, nn.Conv2d | nn.Linear)}
        waiting += further - seen
        seen |= further
    return False


def _is_grouped(module: nn.Module) -> bool:
    """Tell whether several filters share a group of inputs; in a depthwise one, input and output go together."""
    if not isinstance(module, nn.Conv2d) or module.groups == 1:
        return False
    return not module.groups == module.in_channels == module.out_channels
