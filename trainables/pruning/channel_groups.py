"""Groups of coupled channels, found by Torch-Pruning (DepGraph, arXiv 2301.12900), and which of them can be removed.

Around a grouped convolution, a unit is one position in each of the convolution's groups, so that the groups stay equal.
All channels stay where they reach the network's output, or an operation that mixes them or depends on their number
(layer norm, attention, splits).
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch_pruning.dependency.index_mapping import _FlattenIndexMapping

from trainables.models.cifar import PadShortcut
from trainables.models.modes import eval_mode
from trainables.pruning.held import OUTPUT, not_pruned
from trainables.pruning.operations import first_of, is_depthwise, is_known, joined, suspects


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
    suspects: tuple[str, ...]  # functions that the channels pass; one of them is the cause if a cut is not sound

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


def trace(
    model: nn.Module, example: Tensor, whole: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Group], dict[str, str]]:
    """Find the groups whose channels can be removed, and the layers whose channels all stay.

    example: (1, C, H, W). whole: module that keeps all its channels -> the reason. Returns name of a group's first
    layer -> group, and name of a layer -> what keeps its channels. Raises ValueError where the network cannot be
    traced, or has no such group.
    """
    graph = _graph(model, example)
    names: dict[Any, str] = {module: name for name, module in model.named_modules()}
    ends = {node.module for node in graph.module2node.values() if _is_layer(node) and _ends_network(node)}
    groups, held = dict[str, Group](), dict[str, str]()
    for coupled in graph.get_all_groups(root_module_types=(nn.Conv2d, nn.Linear)):
        layers = [item.dep.target.module for item in coupled if _is_layer(item.dep.target) and _is_output(graph, item)]
        found = OUTPUT if ends & {*layers} else _group(graph, coupled, names, model, whole)
        if isinstance(found, Group):
            groups[found.sides[0].name] = found
        else:
            held.update(dict.fromkeys((names[layer] for layer in layers), found))
    pruned = {side.name for group in groups.values() for side in group.outputs}
    held = {name: reason for name, reason in reversed(held.items()) if name not in pruned}  # the output comes last
    if not groups:
        raise ValueError(
            f"granularity 'channel' must find removable channels, but {type(model).__name__} has none"
            f"{not_pruned(held)}; use granularity 'weight'"
        )
    return groups, held


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


def _group(
    graph: Any, coupled: Any, names: Mapping[Any, str], model: nn.Module, whole: Mapping[str, str]
) -> Group | str:
    """Sort coupled channels by unit.

    Returns what keeps all channels where a module keeps them, where an operation is unknown, where units have unequal
    numbers of channels, or where there are too few units.
    """
    if unknown := [item.dep.target for item in coupled if not is_known(item.dep.target)]:
        return first_of(unknown, {**names, **{parameter: name for name, parameter in model.named_parameters()}})
    items = [item for item in coupled if item.dep.target.module in names]
    if kept := [name for item in items if (name := names[item.dep.target.module]) in whole]:
        return whole[kept[0]]
    roots = [np.array(item.root_idxs) for item in items]
    units = _units(list(zip(roots, [_positions(graph, item) for item in items], strict=True)))
    sides = []
    for item, root in zip(items, roots, strict=True):
        unit_of_channel, channels = np.unique(np.stack([units[root], item.idxs]), axis=1)
        counts = np.bincount(unit_of_channel, minlength=units.max() + 1)
        if counts.min() != counts.max():
            return joined([item.dep.target for item in coupled], names)
        module, cut = item.dep.target.module, item.dep.handler
        sides.append(ModuleSide(names[module], module, _is_output(graph, item), cut, channels.reshape(len(counts), -1)))
    group = Group(tuple(sides), suspects(item.dep.target for item in coupled))
    return group if group.units > group.floor else joined([item.dep.target for item in coupled], names)


def _is_output(graph: Any, item: Any) -> bool:
    """Tell whether an item of coupled channels is the outputs of its module, or the channels of a batch norm."""
    return bool(graph.is_out_channel_pruning_fn(item.dep.handler))


def _positions(graph: Any, item: Any) -> NDArray[np.int64]:
    """Find the position of each channel of an item within its group of the convolution: (channels,)."""
    module = item.dep.target.module
    channels: NDArray[np.int64] = np.array(item.idxs)
    if _conv_groups(module) > 1:
        channels %= (module.out_channels if _is_output(graph, item) else module.in_channels) // module.groups
    return channels


def _conv_groups(module: nn.Module) -> int:
    """The number of groups of a convolution. A depthwise convolution counts as 1: its groups can be removed."""
    return module.groups if isinstance(module, nn.Conv2d) and not is_depthwise(module) else 1


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
