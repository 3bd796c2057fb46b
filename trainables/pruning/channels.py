"""Channel granularity: whole channels are removed together with all channels coupled to them."""

from collections.abc import Iterator, Mapping
from math import gcd, lcm
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.models.layers import Inventory, Layer, inventory, weight_name, weight_of
from trainables.pruning.channel_groups import Group, ModuleSide, trace
from trainables.pruning.granularity import Counts, Cut, Part, Read
from trainables.pruning.width_cost import WidthCost
from trainables.spec import BudgetKind


class Channels:
    """Coupled channels of several layers; each group keeps at least one, or two around a grouped convolution."""

    def __init__(self, model: nn.Module, example: Tensor, multiple: int = 1) -> None:
        """Trace a network. The number of channels that a layer keeps is a multiple of `multiple`, or all are kept.

        example: (1, C, H, W) on the network's device. Raises ValueError where the network cannot be traced, or has no
        channels that can be removed.
        """
        found = inventory(model, example)
        self.layers, self.macs_fixed = found.layers, found.macs_fixed
        self.model = model
        self.example = example
        self._groups, held = trace(model, example, _whole(model, found))
        self._layers = {layer.name: layer for layer in self.layers}
        self.parts = tuple(
            _part(name, group, multiple, tuple(self._layers[side.name] for side in group.outputs))
            for name, group in self._groups.items()
        )
        self._costs = {kind: _cost(found, tuple(self._groups.values()), kind) for kind in get_args(BudgetKind)}
        self.held = self._sorted(held | self._too_narrow(multiple))

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network with these numbers of units.

        Products of computed matrices count as in the whole network.
        """
        return int(self._costs[kind](keep))

    def differentiable_cost(self, kind: BudgetKind) -> WidthCost[Tensor]:
        """Return the same cost as a differentiable function of (..., parts) float64, such as sums of gates."""
        return self._costs[kind].differentiable(self.example.device)

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the filters that produce each unit's channels: part name -> (units, elements)."""
        return {
            name: torch.cat([_of_units(read(self._layers[side.name].parameter), side) for side in group.outputs], 1)
            for name, group in self._groups.items()
        }

    def scales(self) -> dict[str, Tensor]:
        """Gather the batch norms' scales of each unit: part name -> (units, scales), for parts with batch norms."""
        return {
            name: torch.cat([_of_units(weight_of(side.module), side) for side in group.norms], dim=1)
            for name, group in self._groups.items()
            if group.norms
        }

    def coupled_parameters(self) -> dict[str, Tensor]:
        """Gather all weights that a unit's removal removes: part name -> (units, elements).

        These are its filters, its batch norms' scales and the weights that read its channels.
        """
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

    def suspects(self, part: str) -> tuple[str, ...]:
        """Name the functions that a part's channels pass and that may mix channels."""
        return self._groups[part].suspects

    def gate_positions(self) -> dict[nn.Module, NDArray[np.int64]]:
        """Find the modules whose outputs gates multiply, so that a gate of 0 silences its unit.

        These are the batch norms of a group, or its layers where it has none; and the shortcuts that copy channels into
        the group. Returns module -> (channels,) index of each channel's unit, counted over all parts in order. A
        channel of no unit has the total number of units as its index.
        """
        starts = np.cumsum([0, *(part.units for part in self.parts)])
        positions: dict[nn.Module, NDArray[np.int64]] = {}
        for start, group in zip(starts, self._groups.values(), strict=False):
            for side in (*(group.norms or group.outputs), *group.widened):
                width = len(side.module.source if isinstance(side.module, PadShortcut) else weight_of(side.module))
                of_no_unit = np.full(width, starts[-1])
                positions.setdefault(side.module, of_no_unit)[side.channels] = start + np.arange(group.units)[:, None]
        return positions

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Remove the channels of all units but `kept_units` in place. Frozen layers stay frozen."""
        outputs = {}
        for side, removed in self._removed_channels(kept_units):
            if side.is_output and isinstance(side.module, nn.Conv2d | nn.Linear):
                outputs[side.name] = torch.from_numpy(np.setdiff1d(np.arange(len(weight_of(side.module))), removed))
            frozen = [name for name, parameter in side.module.named_parameters() if not parameter.requires_grad]
            side.cut(side.module, removed)  # Torch-Pruning makes new parameters
            for name in frozen:
                side.module.get_parameter(name).requires_grad_(False)
        return Cut(outputs=outputs)

    @torch.no_grad()
    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Make all readers ignore the channels of all units but `kept_units`, in place and at full width.

        The network then computes the same as after `remove`.
        """
        for side, removed in self._removed_channels(kept_units):
            if isinstance(side.module, PadShortcut) and not side.is_output:
                source = side.module.source
                source[torch.isin(source, torch.tensor(removed, device=source.device))] = -1
            elif isinstance(side.module, nn.Conv2d | nn.Linear) and not side.is_output:
                weight = side.module.weight
                weight[:, torch.tensor(removed) % weight.shape[1]] = 0.0  # all groups of a convolution share these

    def unmask(self) -> None:
        """Do nothing: no module is skipped."""

    def _too_narrow(self, multiple: int) -> dict[str, str]:
        """Find the layers that a multiple of channels keeps whole."""
        narrow = [part for part in self.parts if part.floor == part.units]
        return {layer.name: f"round_to {multiple}" for part in narrow for layer in part.layers}

    def _sorted(self, held: dict[str, str]) -> dict[str, str]:
        """Sort layers by the weights that they keep where every part is at its floor, and add those not traced."""
        kept = self._costs["params"].of_layers(np.array([part.floor for part in self.parts]))
        weights = dict(zip((layer.name for layer in self.layers), kept.tolist(), strict=True))
        pruned = {layer.name for part in self.parts for layer in part.layers}
        reasons = {
            layer.name: held.get(layer.name, self._untraced(layer)) for layer in self.layers if layer.name not in pruned
        } | held
        return dict(sorted(reasons.items(), key=lambda reason: -weights.get(reason[0], 0)))

    def _untraced(self, layer: Layer) -> str:
        """Say why no channels of a layer were found."""
        module = layer.parameter.rpartition(".")[0]
        around = self.model.get_submodule(module.rpartition(".")[0])
        if layer.kind == "MultiheadAttention" or isinstance(around, nn.MultiheadAttention):
            return "heads of attention are not cut"
        return "no gradient reaches it" if layer.kind in ("Conv2d", "Linear") else f"a {layer.kind} is not cut"

    def _removed_channels(self, kept_units: Mapping[str, Tensor]) -> Iterator[tuple[ModuleSide, list[int]]]:
        """Gather the channels to remove from each side of a module, over all parts."""
        removed: dict[tuple[str, bool], tuple[ModuleSide, list[int]]] = {}
        for name, kept in kept_units.items():
            units = np.setdiff1d(np.arange(self._groups[name].units), kept.cpu().numpy())
            for side in self._groups[name].sides if len(units) else ():
                _, channels = removed.setdefault((side.name, side.is_output), (side, []))
                channels += side.channels[units].flatten().tolist()
        return iter(removed.values())


def _part(name: str, group: Group, multiple: int, layers: tuple[Layer, ...]) -> Part:
    channels_per_unit = (side.channels.shape[1] for side in group.outputs)
    units = lcm(*(multiple // gcd(multiple, channels) for channels in channels_per_unit))
    return Part(name, group.units, min(group.units, -(-group.floor // units) * units), layers, units)


def _of_units(values: Tensor, side: ModuleSide) -> Tensor:
    """Gather each unit's elements from a tensor whose first dimension is the side's channels: (units, elements)."""
    rows = torch.from_numpy(side.channels % len(values)).to(values.device)  # all groups share their input channels
    return values.detach().flatten(1)[rows].flatten(1) if values.dim() > 1 else values.detach()[rows]


def _whole(model: nn.Module, found: Inventory) -> dict[str, str]:
    """Find the modules whose channels cannot be cut: name -> reason."""
    whole = dict[str, str]()
    for name, fixed in found.fixed.items():
        module = name.rpartition(".")[0]
        if name == weight_name(module) and isinstance(model.get_submodule(module), nn.Conv2d | nn.Linear):
            whole[module] = fixed.reason
    for layer in found.layers:
        if layer.shared:
            names = (layer.parameter.rpartition(".")[0], *layer.shared)
            whole |= dict.fromkeys(names, f"{' and '.join(names)} share a weight")
    return whole


def _cost(found: Inventory, groups: tuple[Group, ...], kind: BudgetKind) -> WidthCost[NDArray[np.int64]]:
    layers = found.layers
    column = {layer.name: index for index, layer in enumerate(layers)}
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
    fixed = 0 if kind == "params" else found.macs_fixed
    return WidthCost(kernels * uses, outputs, inputs, n_out - units @ outputs, n_in - units @ inputs, fixed)
