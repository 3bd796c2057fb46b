"""Groups of channels that go together, and which layers keep all of theirs.

A unit is the smallest set of channels that can go from all tensors at once: one channel of each layer around a sum; one
position in each group of a grouped convolution or group norm; a head of attention. Units that take as many positions of
the same tensors are one group.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.layers import Layer
from trainables.tracing.labels import Ids
from trainables.tracing.trace import Trace, is_norm

TOGETHER = "its channels go only together"
At: TypeAlias = tuple[str, int]  # name of a stored tensor, dimension
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


def group(model: nn.Module, layers: Sequence[Layer], trace: Trace) -> tuple[dict[str, Group], dict[str, str]]:
    """Sort the labels of a trace into groups.

    Returns name -> group, and name of a layer of which all channels stay -> what keeps them.
    """
    for tensor, reason in _whole(model, layers).items():
        for at, ids in trace.stored.items():
            if at[0] == tensor:
                trace.labels.hold(ids, reason)
    reasons, joins = trace.labels.reasons(), trace.labels.joins()
    stored = _Stored.of(trace, layers)
    groups = list[Group]()
    for roots in stored.alike(reasons):
        found = stored.group(model, layers, roots)
        if found is None:
            reasons |= {root: joins.get(root, TOGETHER) for root in roots}
        else:
            groups.append(found)
    groups.sort(key=lambda each: layers.index(each.layers[0]))
    named = {each.name: each for each in _named(groups)}
    pruned = {layer.name for each in named.values() for layer in each.layers}
    return named, {layer.name: stored.why_whole(layer, reasons) for layer in layers if layer.name not in pruned}


@dataclass(frozen=True, eq=False)
class _Stored:
    """The dimensions of stored tensors."""

    roots: Mapping[At, Ids]  # the smallest label of the set of each position
    summed: set[At]  # dimensions over which products sum
    made: set[At]  # dimensions of the outputs of layers
    layers: Mapping[str, list[Layer]]  # parameter -> the layers that it stores

    @classmethod
    def of(cls, trace: Trace, layers: Sequence[Layer]) -> Self:
        """Find what each dimension is."""
        is_read = np.zeros(trace.labels.count, bool)
        for ids in trace.read:
            is_read[ids] = True
        by_parameter = defaultdict[str, list[Layer]](list)
        for layer in layers:
            by_parameter[layer.parameter].append(layer)
        summed = {at for at, ids in trace.stored.items() if is_read[ids].any()}
        made = {at for at in trace.stored if at[0] in by_parameter and at not in summed and at[1] <= 1}
        return cls({at: trace.labels.find(ids) for at, ids in trace.stored.items()}, summed, made, by_parameter)

    def alike(self, held: Mapping[int, str]) -> list[list[int]]:
        """Gather the sets that take as many positions of the same dimensions, but for held ones: roots of each kind."""
        taken = defaultdict[int, list[tuple[At, int]]](list)
        for at, roots in self.roots.items():
            for root, count in zip(*np.unique(roots, return_counts=True), strict=True):
                taken[int(root)].append((at, int(count)))
        kinds = defaultdict[tuple[tuple[At, int], ...], list[int]](list)
        for root, positions in taken.items():
            if root not in held and any(at in self.made for at, _ in positions):
                kinds[tuple(positions)].append(root)
        return [*kinds.values()]

    def group(self, model: nn.Module, layers: Sequence[Layer], roots: list[int]) -> Group | None:
        """Make a group of sets that are alike. None if it has no unit to lose."""
        order = {root: unit for unit, root in enumerate(roots)}
        sides = [
            _side(at, of_dim, order, at in self.summed, self.layers[at[0]] if at in self.made else [])
            for at, of_dim in self.roots.items()
            if roots[0] in of_dim
        ]
        floor = 2 if any(_is_grouped(model, side) for side in sides) else 1
        makers = [layer for side in sides for layer in side.layers]
        if len(roots) <= floor or not makers:
            return None
        sides.sort(key=lambda side: layers.index(side.layers[0]) if side.layers else len(layers))
        return Group(min(makers, key=layers.index).name, len(roots), floor, tuple(sides), np.array(roots))

    def why_whole(self, layer: Layer, reasons: Mapping[int, str]) -> str:
        """Say why all channels of a layer stay."""
        for dim in (0, 1):
            if (at := (layer.parameter, dim)) in self.made:
                ids = self.roots[at][slice(*layer.rows)] if dim == 0 and layer.rows else self.roots[at]
                return next((reasons[int(root)] for root in ids if int(root) in reasons), TOGETHER)
        return f"a {layer.kind} is not cut"


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


def kind_of(model: nn.Module, group: Group) -> str:
    """Name what each unit takes from which classes of modules: one position of a dimension, or a range of them.

    Hidden units of all MLPs that are built alike agree. A head takes ranges, whether one parameter packs q, k and v or
    not, so it is of another kind.
    """
    taken = (
        f"{type(model.get_submodule(side.module)).__name__}.{side.key}[{side.dim}{':' * (side.positions.shape[1] > 1)}]"
        for side in group.sides
    )
    return " ".join(sorted(taken))


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
