"""Channel granularity: whole channels are removed together with all channels coupled to them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import gcd, lcm

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.arguments import Arguments, device_of
from trainables.models.layers import Layer, inventory
from trainables.pruning.channel_groups import Group, batch_norm_of, group, is_scale, kind_of, values_of
from trainables.pruning.channel_prices import channel_latency, layer_cost, product_cost
from trainables.pruning.granularity import Counts, Cut, Part, Read
from trainables.pruning.held import not_pruned
from trainables.pruning.latency_cost import LatencyCost, LatencyTerms, picoseconds
from trainables.pruning.masked_norms import mask_norm, unmask_norms
from trainables.pruning.removal import Removed, kept_of, remove, silence, sizes_without
from trainables.pruning.width_cost import WidthCost
from trainables.spec import BudgetKind
from trainables.tracing.labels import Ids
from trainables.tracing.trace import trace


class Channels:
    """Coupled channels of several layers; each group keeps at least one, or two around a grouped convolution."""

    def __init__(self, model: nn.Module, example: Arguments, multiple: int = 1) -> None:
        """Trace a network. The number of channels that a layer keeps is a multiple of `multiple`, or all are kept.

        example: (1, ...) on the network's device. Raises ValueError where the network has no channels that can be
        removed.
        """
        found = inventory(model, example)
        self.layers = found.layers
        self.macs_fixed = 0  # none: products without weights, such as those of attention, shrink with its heads
        self.model = model
        self.example = example
        self._trace = trace(model, example)
        self._groups, held = group(model, found.layers, self._trace)
        self.parts = tuple(_part(model, each, multiple, found.layers) for each in self._groups.values())
        groups = tuple(self._groups.values())
        self.latency: LatencyCost | None = None
        self._layer_cost = layer_cost(found.layers, self._trace, groups)
        self._costs = {"params": self._layer_cost, "macs": product_cost(self._trace, groups)}
        narrow = [part for part in self.parts if part.floor == part.units]
        self.held = self._sorted(
            held | {layer.name: f"round_to {multiple}" for part in narrow for layer in part.layers}
        )
        if not groups:
            raise ValueError(
                f"granularity 'channel' must find removable channels, but {type(model).__name__} has none"
                f"{not_pruned(self.held)}; use granularity 'weight'"
            )

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network with these numbers of units."""
        if kind == "latency":
            return picoseconds(self.latency, keep)
        return int(self._costs[kind](keep))

    def latency_terms(self) -> LatencyTerms:
        """Say what the latency of the network grows with."""
        return channel_latency(self.layers, self._trace, tuple(self._groups.values()))

    def differentiable_cost(self, kind: BudgetKind) -> WidthCost[Tensor]:
        """Return the same cost as a differentiable function of (..., parts) float64, such as sums of gates."""
        found = self.latency if kind == "latency" else self._costs[kind]
        assert found is not None, "latency must be measured before gates are trained to a budget of it"
        return found.differentiable(device_of(self.example))

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the filters that produce each unit's channels: part name -> (units, elements)."""
        return {
            name: torch.cat([values_of(read(side.tensor), side) for side in group.outputs], 1)
            for name, group in self._groups.items()
        }

    def scales(self) -> dict[str, Tensor]:
        """Gather the batch norms' scales of each unit: part name -> (units, scales), for parts with batch norms."""
        scales = {
            name: [
                values_of(norm.weight, side)
                for side in group.sides
                if (norm := batch_norm_of(self.model, side)) is not None and side.key == "weight"
            ]
            for name, group in self._groups.items()
        }
        return {name: torch.cat(found, dim=1) for name, found in scales.items() if found}

    def coupled_parameters(self) -> dict[str, Tensor]:
        """Gather all weights that a unit's removal removes: part name -> (units, elements).

        These are its filters, its norms' scales and the weights that read its channels.
        """
        return {
            name: torch.cat(
                [
                    values_of(self.model.get_parameter(side.tensor), side)
                    for side in group.sides
                    if side.layers or side.is_read or is_scale(self.model, side)
                ],
                dim=1,
            )
            for name, group in self._groups.items()
        }

    def suspects(self, part: str) -> tuple[str, ...]:
        """Name the functions that a part's channels pass and that may know their number; arithmetic comes last."""
        labels, roots = self._trace.labels, self._groups[part].labels
        found = dict.fromkeys(name for name, ids in self._trace.passed if np.isin(labels.find(ids), roots).any())
        return tuple(
            sorted(found, key=lambda name: name in ("add", "sub", "mul", "div", "pow", "add_", "mul_", "div_"))
        )

    def gate_positions(self) -> dict[str, tuple[int, NDArray[np.int64]]]:
        """Find the tensors that gates multiply, so that a gate of 0 silences its unit.

        These are the scales and shifts of the batch norms of a group. In a group without batch norms, these are the
        filters and biases, and all else that produces channels. Returns name -> dimension, and (extent,) index of each
        position's unit, counted over all parts in order. A position of no unit has the total number of units as its
        index. `source` of a `PadShortcut` stands for its output.
        """
        starts = np.cumsum([0, *(part.units for part in self.parts)])
        positions: dict[str, tuple[int, NDArray[np.int64]]] = {}
        for start, each in zip(starts, self._groups.values(), strict=False):
            normed = any(batch_norm_of(self.model, side) for side in each.sides)
            for side in each.sides:
                if side.is_read or side.key == "in_channels":
                    continue
                if side.key == "source" or not normed or batch_norm_of(self.model, side):
                    extent = len(self._trace.stored[side.tensor, side.dim])
                    _, of_tensor = positions.setdefault(side.tensor, (side.dim, np.full(extent, starts[-1])))
                    of_tensor[side.positions] = start + np.arange(each.units)[:, None]
        return positions

    def gate_norms(self) -> dict[str, tuple[int, NDArray[np.int64]]]:
        """Find the norms with statistics over channels that have units: module -> as `gate_positions`."""
        starts = np.cumsum([0, *(part.units for part in self.parts)])
        units = np.full(self._trace.labels.count, starts[-1])
        for start, each in zip(starts, self._groups.values(), strict=False):
            units[each.labels] = start + np.arange(each.units)
        found = {norm.module: (norm.dim, units[self._trace.labels.find(norm.ids)]) for norm in self._trace.norms}
        return {name: (dim, of_norm) for name, (dim, of_norm) in found.items() if of_norm.min() < starts[-1]}

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Remove the channels of all units but `kept_units` in place. Frozen layers stay frozen."""
        removed = self._removed(kept_units)
        outputs = {}
        for layer in self.layers:
            module = self.model.get_submodule(layer.parameter.rpartition(".")[0])
            if (layer.parameter, 0) in removed and isinstance(module, nn.Conv2d | nn.Linear):
                outputs[layer.name] = kept_of(self._trace, (layer.parameter, 0), removed)
        remove(self.model, self._trace, removed, sizes_without(self.model, self._trace, self._gone(kept_units)))
        return Cut(outputs=outputs)

    @torch.no_grad()
    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Make all readers ignore the channels of all units but `kept_units`, in place and at full width.

        The network then computes the same as after `remove`. Norms take their statistics over the channels that stay.
        """
        silence(self.model, self._removed(kept_units), self._read())
        gone = self._gone(kept_units)
        for norm in self._trace.norms:
            stays = ~np.isin(self._trace.labels.find(norm.ids), gone)
            if not stays.all():
                mask_norm(self.model.get_submodule(norm.module), norm.dim, torch.from_numpy(np.flatnonzero(stays)))

    def unmask(self) -> None:
        """Let norms take their statistics over all channels again."""
        unmask_norms(self.model)

    def _read(self) -> set[tuple[str, int]]:
        return {(side.tensor, side.dim) for each in self._groups.values() for side in each.sides if side.is_read}

    def _sorted(self, held: dict[str, str]) -> dict[str, str]:
        """Sort layers by the weights that they keep where every part is at its floor; the output comes last."""
        floors = np.array([part.floor for part in self.parts], np.int64)
        kept = self._layer_cost.of_products(floors).tolist()
        weights = dict(zip((layer.name for layer in self.layers), kept, strict=True))
        return dict(sorted(held.items(), key=lambda reason: -weights[reason[0]]))

    def _gone(self, kept_units: Mapping[str, Tensor]) -> Ids:
        """Gather the labels of all units but `kept_units`, over all parts."""
        gone = [self._groups[name].labels[_without(self._groups[name], kept)] for name, kept in kept_units.items()]
        return np.concatenate([*gone, np.empty(0, np.int64)])

    def _removed(self, kept_units: Mapping[str, Tensor]) -> Removed:
        """Gather the positions to remove from each dimension of each tensor, over all parts."""
        removed = defaultdict[tuple[str, int], list[int]](list)
        for name, kept in kept_units.items():
            units = _without(self._groups[name], kept)
            for side in self._groups[name].sides if len(units) else ():
                removed[side.tensor, side.dim] += side.positions[units].flatten().tolist()
        return removed


def _without(group: Group, kept: Tensor) -> NDArray[np.int64]:
    return np.setdiff1d(np.arange(group.units), kept.cpu().numpy())


def _part(model: nn.Module, group: Group, multiple: int, layers: Sequence[Layer]) -> Part:
    per_unit = (side.positions.shape[1] for side in group.outputs)
    units = lcm(*(multiple // gcd(multiple, positions) for positions in per_unit))
    floor = min(group.units, -(-group.floor // units) * units)
    read = {side.tensor for side in group.sides if side.is_read}
    readers = tuple(layer for layer in layers if layer.parameter in read and layer not in group.layers)
    return Part(group.name, group.units, floor, group.layers, units, readers, kind=kind_of(model, group))
