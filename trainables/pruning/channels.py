"""Channel granularity: whole channels, removed together with everything coupled to them.

Torch-Pruning finds what is coupled (residual sums, batch norm, depthwise convolutions, the next layers' inputs) and
cuts it. Groups that reach the network's output, or a grouped convolution other than a depthwise one, keep their width.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.pruning.granularity import Counts, Part, Read
from trainables.pruning.layers import Layer, Masks, prunable_layers
from trainables.spec import BudgetKind


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


@dataclass(frozen=True)
class _Side:
    """The output or input channels of a layer that go along with the units of a part."""

    layer: str
    channels: list[int]  # positions in that layer
    units: list[int]  # the unit that each of them belongs to


@dataclass(frozen=True)
class _Group:
    root: nn.Module
    outputs: tuple[_Side, ...]
    inputs: tuple[_Side, ...]


class Channels:
    """A network as groups of coupled channels; at least one channel stays in each group."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.layers = prunable_layers(model, example)
        self._model = model
        self._graph, self._groups = _trace(model, example, {layer.name: layer for layer in self.layers})
        sizes = {layer.name: layer for layer in self.layers}
        self.parts = tuple(
            Part(name, len(set(group.outputs[0].units)), 1, tuple(sizes[side.layer] for side in group.outputs))
            for name, group in self._groups.items()
        )
        self._areas = _areas(self.layers, self.parts, self._groups, model)

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network cut to these widths."""
        return int(sum(area.weights(keep) * (1 if kind == "params" else area.positions) for area in self._areas))

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather, for each channel, the filters that produce it in every layer of its group."""
        gathered = {}
        for part in self.parts:
            filters = []
            for side in self._groups[part.name].outputs:
                values = read(self._model.get_submodule(side.layer)).detach()
                rows = torch.empty(part.units, dtype=torch.long, device=values.device)
                rows[torch.tensor(side.units, device=values.device)] = torch.tensor(side.channels, device=values.device)
                filters.append(values.flatten(1)[rows])
            gathered[part.name] = torch.cat(filters, dim=1)
        return gathered

    def remove(self, keep: Mapping[str, Tensor]) -> Masks:
        """Cut every other channel out of the network; nothing is left to mask."""
        for part in self.parts:
            gone = sorted(set(range(part.units)) - set(keep[part.name].tolist()))
            if gone:
                root = self._groups[part.name].root
                cut = self._graph.get_pruner_of_module(root).prune_out_channels
                self._graph.get_pruning_group(root, cut, gone).prune()
        return {}


@dataclass(frozen=True)
class _Area:
    """A layer's weights as a product of what its groups keep: kernel x outputs x inputs (1 where depthwise)."""

    kernel: int
    positions: int
    fixed_outputs: int
    fixed_inputs: int
    outputs: NDArray[np.int64]  # (parts,) output channels for each unit of a part
    inputs: NDArray[np.int64]  # (parts,)

    def weights(self, keep: Counts) -> int:
        return self.kernel * int(self.fixed_outputs + self.outputs @ keep) * int(self.fixed_inputs + self.inputs @ keep)


def _areas(
    layers: tuple[Layer, ...], parts: tuple[Part, ...], groups: Mapping[str, _Group], model: nn.Module
) -> list[_Area]:
    outputs = {layer.name: np.zeros(len(parts), dtype=np.int64) for layer in layers}
    inputs = {layer.name: np.zeros(len(parts), dtype=np.int64) for layer in layers}
    for p, part in enumerate(parts):
        for sides, table in ((groups[part.name].outputs, outputs), (groups[part.name].inputs, inputs)):
            for side in sides:
                table[side.layer][p] += len(side.channels) // part.units
    units = np.array([part.units for part in parts], dtype=np.int64)
    areas = []
    for layer in layers:
        out, inp = outputs[layer.name], inputs[layer.name]
        if _is_depthwise(model.get_submodule(layer.name)):
            inp = np.zeros_like(inp)
        n_out, n_in = layer.shape[:2]
        kernel = layer.size // (n_out * n_in)
        areas.append(_Area(kernel, layer.positions, n_out - int(out @ units), n_in - int(inp @ units), out, inp))
    return areas


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels > 1


def _is_grouped(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and not _is_depthwise(module)


def _trace(model: nn.Module, example: Tensor, layers: Mapping[str, Layer]) -> tuple[Any, dict[str, _Group]]:
    """Find the groups whose channels may go, by the name of the first layer that produces them."""
    names = {module: name for name, module in model.named_modules()}
    requires_grad = [(p, p.requires_grad) for p in model.parameters()]
    training = model.training
    graph = tp.DependencyGraph()
    try:
        for p, _ in requires_grad:  # the graph is traced through autograd
            p.requires_grad_(True)
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
    last = [names[m] for m in graph.module2node if names.get(m) in layers and _ends_network(graph, m)]
    keep_whole = [model.get_submodule(name) for name in last]
    groups = {}
    for group in graph.get_all_groups(ignored_layers=keep_whole, root_module_types=(nn.Conv2d, nn.Linear)):
        sides = list(_sides(graph, group, names, layers))
        outputs = tuple(side for is_output, side in sides if is_output)
        inputs = tuple(side for is_output, side in sides if not is_output)
        if outputs and not any(_is_grouped(model.get_submodule(side.layer)) for _, side in sides):
            root = group[0].dep.target.module
            groups[names[root]] = _Group(root, outputs, inputs)
    if not groups:
        raise ValueError(f"granularity 'channel' must find channels to remove, but {type(model).__name__} has none")
    return graph, groups


def _ends_network(graph: Any, module: nn.Module) -> bool:
    """Tell whether no other layer reads what this one computes."""
    seen, waiting = set(), list(graph.module2node[module].outputs)
    while waiting:
        node = waiting.pop()
        if isinstance(node.module, nn.Conv2d | nn.Linear):
            return False
        if node not in seen:
            seen.add(node)
            waiting += node.outputs
    return True


def _sides(
    graph: Any, group: Any, names: Mapping[nn.Module, str], layers: Mapping[str, Layer]
) -> Iterator[tuple[bool, _Side]]:
    for item in group:
        name = names.get(item.dep.target.module)
        if name is not None and name in layers:
            is_output = graph.is_out_channel_pruning_fn(item.dep.handler)
            yield is_output, _Side(name, list(item.idxs), list(item.root_idxs))
