"""Channel granularity: whole channels, removed together with everything coupled to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.pruning.coupling import Group, trace
from trainables.pruning.granularity import Counts, Part, Read
from trainables.pruning.layers import Layer, Masks, prunable_layers
from trainables.spec import BudgetKind


class Channels:
    """A network as groups of coupled channels; at least one channel stays in each group."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.layers = prunable_layers(model, example)
        self.model = model
        sizes = {layer.name: layer for layer in self.layers}
        self._graph, self._groups = trace(model, example, sizes)
        self.parts = tuple(
            Part(name, len(group.outputs[0].units), 1, tuple(sizes[side.layer] for side in group.outputs))
            for name, group in self._groups.items()
        )
        self._areas = _areas(self.layers, self.parts, self._groups)

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network cut to these widths."""
        return int(sum(area.weights(keep) * (1 if kind == "params" else area.positions) for area in self._areas))

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather, for each channel, the filters that produce it in every layer of its group."""
        gathered = {}
        for part in self.parts:
            filters = []
            for side in self._groups[part.name].outputs:
                values = read(self.model.get_submodule(side.layer)).detach()
                rows = torch.empty(part.units, dtype=torch.long, device=values.device)
                rows[torch.tensor(side.units, device=values.device)] = torch.tensor(side.channels, device=values.device)
                filters.append(values.flatten(1)[rows])
            gathered[part.name] = torch.cat(filters, dim=1)
        return gathered

    def remove(self, keep: Mapping[str, Tensor]) -> Masks:
        """Cut every other channel out of the network; nothing is left to mask."""
        for part in self.parts:
            coupled = self._others(part, keep)
            if coupled is not None:
                coupled.prune()
        return {}

    @torch.no_grad()
    def silence(self, keep: Mapping[str, Tensor]) -> None:
        """Make whatever reads every other channel ignore it, in place: at full width, what `remove` must compute."""
        for part in self.parts:
            for item in self._others(part, keep) or ():
                module = item.dep.target.module
                if self._graph.is_out_channel_pruning_fn(item.dep.handler):
                    continue
                if isinstance(module, PadShortcut):
                    module.source[torch.isin(module.source, torch.tensor(item.idxs))] = -1
                elif isinstance(module, nn.Conv2d | nn.Linear):
                    module.weight[:, item.idxs] = 0.0

    def _others(self, part: Part, keep: Mapping[str, Tensor]) -> Any:
        """All that is coupled to the channels of a part that do not stay; None where all stay."""
        gone = sorted(set(range(part.units)) - set(keep[part.name].tolist()))
        root = self._groups[part.name].root
        cut = self._graph.get_pruner_of_module(root).prune_out_channels
        return self._graph.get_pruning_group(root, cut, gone) if gone else None


@dataclass(frozen=True)
class _Area:
    """A layer's weights as a product of what its groups keep: kernel x outputs x inputs (always 1 where depthwise)."""

    kernel: int
    positions: int
    fixed_outputs: int
    fixed_inputs: int
    outputs: NDArray[np.int64]  # (parts,) output channels for each unit of a part
    inputs: NDArray[np.int64]  # (parts,)

    def weights(self, keep: Counts) -> int:
        return self.kernel * int(self.fixed_outputs + self.outputs @ keep) * int(self.fixed_inputs + self.inputs @ keep)


def _areas(layers: tuple[Layer, ...], parts: tuple[Part, ...], groups: Mapping[str, Group]) -> list[_Area]:
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
        n_out, n_in = layer.shape[:2]
        kernel = layer.size // (n_out * n_in)
        areas.append(_Area(kernel, layer.positions, n_out - int(out @ units), n_in - int(inp @ units), out, inp))
    return areas
