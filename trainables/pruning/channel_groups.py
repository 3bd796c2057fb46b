"""Groups of channels that go together, and which layers keep all of theirs.

A unit is the smallest set of channels that can go from all tensors at once: one channel of each layer around a sum; one
position in each group of a grouped convolution or group norm; a head of attention. Units that take as many positions of
the same tensors are one group.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.layers import Layer
from trainables.tracing.labels import Ids
from trainables.tracing.trace import Trace, is_norm

Positions = NDArray[np.int64]  # (units, positions of each unit along a dimension)


@dataclass(frozen=True, eq=False)
class Side:
    """A dimension of a stored tensor along which a group has positions."""

    tensor: str  # name of a parameter or buffer; `in_channels` of a `PadShortcut`
    dim: int
    positions: Positions
    is_read: bool  # products sum over this dimension: readers of the channels
    layers: tuple[Layer, ...] = ()  # the layers that produce the channels here

    @property
    def module(self) -> str:
        """Name of the module that has the tensor."""
        return self.tensor.rpartition(".")[0]

    @property
    def key(self) -> str:
        """Name that the module has for the tensor."""
        return self.tensor.rpartition(".")[2]


@dataclass(frozen=True, eq=False)
class Group:
    """Units that take as many positions of the same tensors."""

    name: str  # of the first layer that produces the channels
    units: int
    floor: int  # the fewest units to keep
    sides: tuple[Side, ...]
    labels: Ids  # (units,) the root of each unit in the trace

    @property
    def outputs(self) -> tuple[Side, ...]:
        """The layers that produce the channels."""
        return tuple(side for side in self.sides if side.layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that produce the channels."""
        return tuple(layer for side in self.outputs for layer in side.layers)


def group(model: nn.Module, of_model: Sequence[Layer], trace: Trace) -> tuple[dict[str, Group], dict[str, str]]:
    """Sort the labels of a trace into groups.

    Returns name -> group, and name of a layer of which all channels stay -> what keeps them.
    """
    labels, whole = trace.labels, _whole(model, of_model)
    is_read = np.zeros(labels.count, bool)
    for ids in trace.read:
        is_read[ids] = True
    layers = defaultdict[str, list[Layer]](list)
    for layer in of_model:
        layers[layer.parameter].append(layer)
    for name, reason in whole.items():
        for (tensor, _), ids in trace.stored.items():
            if tensor == name:
                labels.hold(ids, reason)
    reasons, joins = labels.reasons(), labels.joins()
    roots = {at: labels.find(ids) for at, ids in trace.stored.items()}
    summed = {at for at, ids in trace.stored.items() if is_read[ids].any()}
    made = {at for at in roots if at[0] in layers and at not in summed and at[1] <= 1}
    of_root = defaultdict[int, list[tuple[tuple[str, int], int]]](list)
    for at, of_dim in roots.items():
        for root, count in zip(*np.unique(of_dim, return_counts=True), strict=True):
            of_root[int(root)].append((at, int(count)))
    by_signature = defaultdict[tuple[tuple[tuple[str, int], int], ...], list[int]](list)
    for root, listed in of_root.items():
        if root not in reasons and any(at in made for at, _ in listed):
            by_signature[tuple(listed)].append(root)
    groups, too_few = list[Group](), dict[int, str]()
    for signature, of_group in by_signature.items():
        order = {root: unit for unit, root in enumerate(of_group)}
        sides = tuple(
            _side(at, roots[at], order, at in summed, layers[at[0]] if at in made else []) for at, _ in signature
        )
        floor = 2 if any(_is_grouped(model, side) for side in sides) else 1
        outputs = [side for side in sides if side.layers]
        if len(of_group) <= floor or not outputs:
            too_few |= {root: joins.get(root, "its channels go only together") for root in of_group}
            continue
        first = min((layer for side in outputs for layer in side.layers), key=of_model.index)
        ordered = sorted(sides, key=lambda side: of_model.index(side.layers[0]) if side.layers else len(of_model))
        groups.append(Group(first.name, len(of_group), floor, tuple(ordered), np.array(of_group)))
    groups.sort(key=lambda each: of_model.index(each.layers[0]))
    named = {each.name: each for each in _named(groups)}
    pruned = {layer.name for each in named.values() for layer in each.layers}
    held = {
        layer.name: _reason(layer, roots, made, reasons | too_few) for layer in of_model if layer.name not in pruned
    }
    return named, held


def _whole(model: nn.Module, layers: Sequence[Layer]) -> dict[str, str]:
    """Find the parameters whose channels cannot be cut: name -> reason."""
    whole = dict[str, str]()
    for layer in layers:
        if layer.shared:
            names = (layer.parameter.rpartition(".")[0], *layer.shared)
            whole[layer.parameter] = f"{' and '.join(names)} share a weight"
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and (module.bias_k is not None or module.add_zero_attn):
            names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
            whole |= dict.fromkeys((f"{name}.{each}".removeprefix(".") for each in names), "tokens that attention adds")
    return whole


def _side(at: tuple[str, int], roots: Ids, order: Mapping[int, int], is_read: bool, layers: list[Layer]) -> Side:
    units = np.array([order.get(root, -1) for root in roots.tolist()])
    positions = np.flatnonzero(units >= 0)
    units = units[positions]
    by_unit = positions[np.argsort(units, kind="stable")].reshape(len(order), -1)
    makers = tuple(layer for layer in layers if layer.rows is None or _in(by_unit, layer.rows))
    return Side(at[0], at[1], by_unit, is_read, makers)


def _in(positions: Positions, rows: tuple[int, int]) -> bool:
    return bool(((positions >= rows[0]) & (positions < rows[1])).any())


def _is_grouped(model: nn.Module, side: Side) -> bool:
    """Tell whether a convolution with groups produces the channels; with one in each it would look depthwise."""
    if not side.layers:
        return False
    module = model.get_submodule(side.module)
    groups = getattr(module, "groups", 1)
    return isinstance(module, nn.modules.conv._ConvNd) and groups > 1 and not is_depthwise(module)


def is_depthwise(conv: nn.modules.conv._ConvNd) -> bool:
    """Tell whether each channel has a group of its own, so that the channel can go with its group."""
    return conv.groups == conv.in_channels == conv.out_channels > 1


def _named(groups: list[Group]) -> list[Group]:
    """Give each group a name of its own: several groups may have channels of one layer."""
    taken = defaultdict[str, int](int)
    named = []
    for each in groups:
        taken[each.name] += 1
        name = each.name if taken[each.name] == 1 else f"{each.name}#{taken[each.name]}"
        named.append(replace(each, name=name))
    return named


def _reason(
    layer: Layer, roots: Mapping[tuple[str, int], Ids], made: set[tuple[str, int]], reasons: Mapping[int, str]
) -> str:
    """Say why all channels of a layer stay."""
    for dim in (0, 1):
        if (at := (layer.parameter, dim)) in made:
            ids = roots[at][slice(*layer.rows)] if dim == 0 and layer.rows else roots[at]
            found = [reasons[int(root)] for root in ids if int(root) in reasons]
            return found[0] if found else "its channels go only together"
    return f"a {layer.kind} is not cut"


def batch_norm_of(model: nn.Module, side: Side) -> _BatchNorm | None:
    """Return the batch norm whose scale or shift this is."""
    owner = model.get_submodule(side.module)
    return owner if isinstance(owner, _BatchNorm) and side.key in ("weight", "bias") else None


def is_scale(model: nn.Module, side: Side) -> bool:
    """Tell whether a tensor is the scale of a norm."""
    owner = model.get_submodule(side.module)
    return side.key == "weight" and (isinstance(owner, _BatchNorm) or is_norm(owner))


def values_of(values: Tensor, side: Side) -> Tensor:
    """Gather the elements of each unit from a tensor of the side's shape: (units, elements)."""
    rows = values.detach().movedim(side.dim, 0).flatten(1) if values.dim() > 1 else values.detach()[:, None]
    return rows[torch.from_numpy(side.positions).to(rows.device)].flatten(1)
