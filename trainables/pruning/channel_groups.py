"""Groups of coupled channels, found by Torch-Pruning (DepGraph, arXiv 2301.12900), and which of them can be removed.

Around a grouped convolution, a unit is one position in each of the convolution's groups, so that the groups stay equal.
All channels stay where they reach the network's output, or an operation that mixes them or depends on their number
(layer norm, attention, splits).
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch_pruning.dependency.index_mapping import _FlattenIndexMapping

from trainables.models.cifar import PadShortcut
from trainables.models.layers import eval_mode

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


@dataclass(frozen=True)
class ModuleSide:
    """The output channels, or the input channels, of a module in a group."""

    name: str  # of the module
    module: nn.Module
    is_output: bool  # True for a batch norm and a depthwise convolution
    cut: Callable[[nn.Module, list[int]], object]  # removes channels of this side from the module
    channels: NDArray[np.int64]  # (units, channels per unit)


@dataclass(frozen=True)
class Group:
    """Coupled channels: removing an output channel of the first module removes channels of all others."""

    sides: tuple[ModuleSide, ...]

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.sides[0].channels)

    @property
    def floor(self) -> int:
        """The fewest units to keep: 2 with a grouped convolution, which would look depthwise with 1; otherwise 1."""
        return 2 if any(_conv_groups(side.module) > 1 for side in self.outputs) else 1

    @property
    def outputs(self) -> tuple[ModuleSide, ...]:
        """The layers that produce the channels."""
        return tuple(s for s in self.sides if s.is_output and isinstance(s.module, nn.Conv2d | nn.Linear))

    @property
    def inputs(self) -> tuple[ModuleSide, ...]:
        """The layers that read the channels."""
        return tuple(s for s in self.sides if not s.is_output and isinstance(s.module, nn.Conv2d | nn.Linear))

    @property
    def norms(self) -> tuple[ModuleSide, ...]:
        """The batch norms that scale the channels."""
        return tuple(s for s in self.sides if isinstance(s.module, _BatchNorm) and s.module.affine)

    @property
    def widened(self) -> tuple[ModuleSide, ...]:
        """The shortcuts that copy another group's channels into these and pad them with zeros."""
        return tuple(s for s in self.sides if isinstance(s.module, PadShortcut) and s.is_output)


class _PadShortcutCut(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
    """Tells Torch-Pruning how to remove channels of a `PadShortcut`."""

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
    removed = set(idxs)
    return [i for i in range(width) if i not in removed]


def trace(model: nn.Module, example: Tensor) -> dict[str, Group]:
    """Find the groups whose channels can be removed: name of the first layer -> group.

    example: (1, C, H, W). Raises ValueError where the network cannot be traced, or has no such group.
    """
    graph = _graph(model, example)
    names = {module: name for name, module in model.named_modules()}
    output_layers = [node.module for node in graph.module2node.values() if _is_layer(node) and _ends_network(node)]
    groups = {}
    for coupled in graph.get_all_groups(ignored_layers=output_layers, root_module_types=(nn.Conv2d, nn.Linear)):
        group = _group(graph, coupled, names)
        if group is not None and group.units > group.floor:
            groups[group.sides[0].name] = group
    if not groups:
        raise ValueError(
            f"granularity 'channel' must find removable channels, but {type(model).__name__} has none; "
            "use granularity 'weight'"
        )
    return groups


def _graph(model: nn.Module, example: Tensor) -> Any:
    graph = tp.DependencyGraph()
    try:
        with eval_mode(model), torch.enable_grad(), warnings.catch_warnings():  # Torch-Pruning traces autograd
            warnings.filterwarnings("error", "Maximum recursive depth")  # after this warning, tracing uses all memory
            graph.build_dependency(model, example, customized_pruners={PadShortcut: _PadShortcutCut()}, verbose=False)
        _refuse_folding(graph)
    except Exception as error:
        raise ValueError(
            f"granularity 'channel' must be able to trace the network, but tracing {type(model).__name__} failed with: "
            f"{error}; use granularity 'weight'"
        ) from error
    return graph


def _group(graph: Any, coupled: Any, names: Mapping[nn.Module, str]) -> Group | None:
    """Sort coupled channels by unit. None where an operation is unknown, or units have unequal numbers of channels."""
    if not all(_is_known(item.dep.target) for item in coupled):
        return None
    items = [item for item in coupled if item.dep.target.module in names]
    roots = [np.array(item.root_idxs) for item in items]
    units = _units(list(zip(roots, [_positions(graph, item) for item in items], strict=True)))
    sides = []
    for item, root in zip(items, roots, strict=True):
        unit_of_channel, channels = np.unique(np.stack([units[root], item.idxs]), axis=1)
        counts = np.bincount(unit_of_channel, minlength=units.max() + 1)
        if counts.min() != counts.max():
            return None
        module, cut = item.dep.target.module, item.dep.handler
        is_output = graph.is_out_channel_pruning_fn(cut)
        sides.append(ModuleSide(names[module], module, is_output, cut, channels.reshape(len(counts), -1)))
    return Group(tuple(sides))


def _positions(graph: Any, item: Any) -> NDArray[np.int64]:
    """Find the position of each channel of an item within its group of the convolution: (channels,)."""
    module = item.dep.target.module
    channels: NDArray[np.int64] = np.array(item.idxs)
    if _conv_groups(module) > 1:
        is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
        channels %= (module.out_channels if is_output else module.in_channels) // module.groups
    return channels


def _conv_groups(module: nn.Module) -> int:
    """The number of groups of a convolution. A depthwise convolution counts as 1: its groups can be removed."""
    return module.groups if isinstance(module, nn.Conv2d) and not _is_depthwise(module) else 1


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels == conv.out_channels > 1


def _units(sides: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> NDArray[np.int64]:
    """Number the units of the root's channels: channels that share a position on any side belong to one unit.

    sides: for each side, the root's channel and the position of each of its channels, both (channels,). The first side
    lists every channel of the root. Returns (root channels,) unit numbers from 0.
    """
    root = sides[0][0]
    units = np.arange(len(root))
    while True:
        before = units.copy()
        for root_channels, positions in sides:
            lowest = np.full(positions.max() + 1, len(root))
            np.minimum.at(lowest, positions, units[root_channels])
            np.minimum.at(units, root_channels, lowest[positions])
        if np.array_equal(units, before):
            return np.unique(units, return_inverse=True)[1]


def _is_known(node: Any) -> bool:
    if node.type == tp.ops.OPTYPE.DEPTHWISE_CONV and not _is_depthwise(node.module):
        return False  # Torch-Pruning handles its outputs only
    if node.type == tp.ops.OPTYPE.EXPAND:
        return _keeps_channels(node.grad_fn)
    slices_pixels = node.type == tp.ops.OPTYPE.SLICE and node.module.dim in (2, 3)
    return slices_pixels or node.type in _SAFE_OPERATIONS or isinstance(node.module, PadShortcut)


def _keeps_channels(expand: Any) -> bool:
    """Tell whether an expansion repeats no channel: it repeats dimensions of extent 1, and channels are dimension 1."""
    sizes: list[int] = list(getattr(expand, "_saved_self_sym_sizes", []))
    return len(sizes) in (2, 4) and sizes[1] > 1


def _is_layer(node: Any) -> bool:
    return isinstance(node.module, nn.Conv2d | nn.Linear)


def _ends_network(layer: Any) -> bool:
    """Tell whether the output of this layer reaches the network's output without passing another layer."""
    return any(not node.outputs for node in {layer} | _reached(layer))


def _refuse_folding(graph: Any) -> None:
    """Refuse two views in a row that fold pixels into channels: Torch-Pruning would trace them for hours."""
    folds = {node for node in graph.module2node.values() if node.type == tp.ops.OPTYPE.RESHAPE and _folds(node)}
    if any(folds & _reached(node) for node in folds):
        raise ValueError("its views fold pixels into channels more than once before the next layer")


def _folds(view: Any) -> bool:
    return any(isinstance(mapping, _FlattenIndexMapping) for dep in view.dependencies for mapping in dep.index_mapping)


def _reached(start: Any) -> set[Any]:
    """Return the nodes that a node's output reaches before the next layers. The layers are not included."""
    seen: set[Any] = set()
    waiting = {start}
    while waiting:
        further = {node for node in waiting.pop().outputs if not _is_layer(node)}
        waiting |= further - seen
        seen |= further
    return seen
