"""Channel granularity: whole channels, removed together with everything coupled to them."""

from collections.abc import Iterator, Mapping
from math import gcd, lcm
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.models.layers import Layer, Masks, prunable_layers, weight_of
from trainables.pruning.channel_groups import Group, Side, trace
from trainables.pruning.granularity import Counts, Part, Read
from trainables.pruning.width_cost import WidthCost
from trainables.spec import BudgetKind


class Channels:
    """A network as groups of coupled channels; at least one stays in each group, two around a grouped convolution."""

    def __init__(self, model: nn.Module, example: Tensor, multiple: int = 1) -> None:
        """Trace a network; of each layer's channels a multiple of `multiple` is to stay, or all of them."""
        self.layers = prunable_layers(model, example)
        self.model = model
        self.example = example
        self._groups = trace(model, example)
        layers = {layer.name: layer for layer in self.layers}
        self.parts = tuple(
            _part(name, group, multiple, tuple(layers[side.name] for side in group.outputs))
            for name, group in self._groups.items()
        )
        self._costs = {kind: _cost(self.layers, tuple(self._groups.values()), kind) for kind in get_args(BudgetKind)}

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network cut to these widths."""
        return int(self._costs[kind](keep))

    def differentiable_cost(self, kind: BudgetKind) -> WidthCost[Tensor]:
        """The same of sums of gates in place of counts, differentiable, on the network's device."""
        return self._costs[kind].soft(self.example.device)

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather, for each unit, the filters that produce its channels in every layer of its group."""
        return {
            name: torch.cat([_of_units(read(side.module), side) for side in group.outputs], dim=1)
            for name, group in self._groups.items()
        }

    def scales(self) -> dict[str, Tensor]:
        """Gather the scales that batch norms give each unit's channels: part name -> (units, scales)."""
        return {
            name: torch.cat([_of_units(weight_of(side.module), side) for side in group.norms], dim=1)
            for name, group in self._groups.items()
            if group.norms
        }

    def coupled(self) -> dict[str, Tensor]:
        """Gather all that goes along with each unit: filters, scales of batch norms, slices of its readers."""
        return {
            name: torch.cat(
                [
                    *(_of_units(weight_of(side.module), side) for side in (*group.outputs, *group.norms)),
                    *(_of_units(weight_of(side.module).transpose(0, 1), side) for side in group.inputs),
                ],
                dim=1,
            )
            for name, group in self._groups.items()
        }

    def gate_positions(self) -> dict[nn.Module, NDArray[np.int64]]:
        """Find the modules whose outputs are to be multiplied where each unit has a factor, so that 0 silences it.

        These are a group's batch norms or, where it has none, its layers, and the shortcuts that widen into it. Returns
        for each (channels,) positions of the units that own them, among those of all parts in order; their number for a
        channel that belongs to none.
        """
        starts = np.cumsum([0, *(part.units for part in self.parts)])
        owners: dict[nn.Module, NDArray[np.int64]] = {}
        for start, group in zip(starts, self._groups.values(), strict=False):
            for side in (*(group.norms or group.outputs), *group.widened):
                width = len(side.module.source if isinstance(side.module, PadShortcut) else weight_of(side.module))
                nobodys = np.full(width, starts[-1])
                owners.setdefault(side.module, nobodys)[side.channels] = start + np.arange(group.units)[:, None]
        return owners

    def remove(self, kept_units: Mapping[str, Tensor]) -> Masks:
        """Cut every other unit's channels out of the network; nothing is left to mask."""
        for side, gone in self._gone(kept_units):
            side.cut(side.module, gone)
        return {}

    @torch.no_grad()
    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Make whatever reads every other channel ignore it, in place: at full width, what `remove` must compute."""
        for side, gone in self._gone(kept_units):
            if isinstance(side.module, PadShortcut) and not side.is_output:
                source = side.module.source
                source[torch.isin(source, torch.tensor(gone, device=source.device))] = -1
            elif isinstance(side.module, nn.Conv2d | nn.Linear) and not side.is_output:
                weight = side.module.weight
                weight[:, torch.tensor(gone) % weight.shape[1]] = 0.0  # one position in each group of a convolution

    def unmask(self) -> None:
        """Do nothing: no module is skipped."""

    def _gone(self, kept_units: Mapping[str, Tensor]) -> Iterator[tuple[Side, list[int]]]:
        """Gather the channels that do not stay, of all parts at once, for each side of a module."""
        gone: dict[tuple[str, bool], tuple[Side, list[int]]] = {}
        for name, kept in kept_units.items():
            units = np.setdiff1d(np.arange(self._groups[name].units), kept.cpu().numpy())
            for side in self._groups[name].sides if len(units) else ():
                _, channels = gone.setdefault((side.name, side.is_output), (side, []))
                channels += side.channels[units].flatten().tolist()
        return iter(gone.values())


def _part(name: str, group: Group, multiple: int, layers: tuple[Layer, ...]) -> Part:
    shares = (side.channels.shape[1] for side in group.outputs)  # channels of a unit
    units = lcm(*(multiple // gcd(multiple, share) for share in shares))
    return Part(name, group.units, min(group.units, -(-group.floor // units) * units), layers, units)


def _of_units(values: Tensor, side: Side) -> Tensor:
    """Gather what belongs to each unit from a tensor whose first dimension is the side's channels."""
    rows = torch.from_numpy(side.channels % len(values)).to(values.device)  # the same inputs in each group
    return values.detach().flatten(1)[rows].flatten(1) if values.dim() > 1 else values.detach()[rows]


def _cost(layers: tuple[Layer, ...], groups: tuple[Group, ...], kind: BudgetKind) -> WidthCost[NDArray[np.int64]]:
    column = {layer.name: position for position, layer in enumerate(layers)}
    outputs = np.zeros((len(groups), len(layers)), dtype=np.int64)
    inputs = np.zeros_like(outputs)
    for g, group in enumerate(groups):
        for side in group.outputs:
            outputs[g, column[side.name]] += side.channels.shape[1]
        for side in group.inputs:
            inputs[g, column[side.name]] += side.channels.shape[1] // getattr(side.module, "groups", 1)
    units = np.array([group.units for group in groups], dtype=np.int64)
    n_out, n_in = np.array([layer.shape[:2] for layer in layers], dtype=np.int64).T
    kernels = np.array([layer.size for layer in layers], dtype=np.int64) // (n_out * n_in)
    uses = np.array([1 if kind == "params" else layer.positions for layer in layers], dtype=np.int64)
    return WidthCost(kernels * uses, outputs, inputs, n_out - units @ outputs, n_in - units @ inputs)
