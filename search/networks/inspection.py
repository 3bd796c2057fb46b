"""What a network consists of: each weight matrix and each other parameter, and at which granularity it is pruned."""

from collections.abc import Mapping
from typing import get_args

from torch import Tensor, nn

from trainables.catalog import feasibility
from trainables.frozen import Frozen
from trainables.models.layers import Layer, inventory
from trainables.names import GranularityName
from trainables.pruning.blocks import Blocks
from trainables.pruning.granularities import view

Prunable = dict[GranularityName, bool | str]  # granularity -> True, or the reason why not
GRANULARITIES: tuple[GranularityName, ...] = get_args(GranularityName)


class InspectedPart(Frozen):
    """A layer, a fixed parameter, or products of matrices without weights."""

    name: str
    kind: str  # class of its module; "products" for products without weights
    units: int  # output channels of a layer
    weights: int
    macs: int  # for one input
    coupled: list[str]  # layers whose channels go along, or that share the weight
    prunable: Prunable


class Inspection(Frozen):
    """All parameters and multiply-accumulates of a network."""

    params: int
    params_prunable: int  # weights of layers; budgets count these
    params_fixed: int
    macs: int  # for one input
    parts: list[InspectedPart]


def inspection(name: str, model: nn.Module, example: Tensor) -> Inspection:
    """List what a network consists of: layers, fixed parameters, and products without weights.

    name: what errors and reasons call it. example: its input, one image (1, C, H, W) or whatever else it reads.
    """
    found = inventory(model, example)
    views = {each: _View.of(each, name, model, example) for each in GRANULARITIES}
    parts = [
        InspectedPart(
            name=layer.name,
            kind=layer.kind,
            units=layer.outputs,
            weights=layer.size,
            macs=layer.macs,
            coupled=[*dict.fromkeys((*layer.shared, *views["channel"].beside(layer)))],
            prunable={each: seen.prunable(layer) for each, seen in views.items()},
        )
        for layer in found.layers
    ]
    parts += [
        InspectedPart(
            name=name,
            kind=fixed.kind,
            units=0,
            weights=fixed.size,
            macs=0,
            coupled=[],
            prunable=dict.fromkeys(GRANULARITIES, fixed.reason),
        )
        for name, fixed in found.fixed.items()
    ]
    parts += [
        InspectedPart(
            name=module,
            kind="products",
            units=0,
            weights=0,
            macs=macs,
            coupled=[],
            prunable=dict.fromkeys(GRANULARITIES, "no layer's weights multiply here"),
        )
        for module, macs in found.products.items()
    ]
    return Inspection(
        params=found.params,
        params_prunable=found.params - found.params_fixed,
        params_fixed=found.params_fixed,
        macs=sum(layer.macs for layer in found.layers) + found.macs_fixed,
        parts=parts,
    )


class _View:
    """A network at one granularity."""

    def __init__(self, parts: Mapping[str, frozenset[str]], held: Mapping[str, str], otherwise: str) -> None:
        """parts: layer -> the layers of its part. held: layer or block -> reason. otherwise: the reason of others."""
        self._parts, self._held, self._otherwise = parts, held, otherwise

    @classmethod
    def of(cls, granularity: GranularityName, name: str, model: nn.Module, example: Tensor) -> "_View":
        """View a network. Where it has no units at this granularity, that is the reason for all layers."""
        try:
            if granularity == "channel":
                feasibility.prove_cuts(name, model, example)
            seen = view(model, granularity, example)
        except ValueError as error:
            return cls({}, {}, str(error))
        parts: dict[str, frozenset[str]] = {}
        for part in seen.parts:
            if part.units > part.floor:
                parts |= dict.fromkeys((layer.name for layer in part.layers), frozenset(n.name for n in part.layers))
        return cls(parts, seen.held, "in no block" if isinstance(seen, Blocks) else "all its units stay")

    def prunable(self, layer: Layer) -> bool | str:
        """Tell whether units of a layer can be removed, or why not."""
        if layer.name in self._parts:
            return True
        around = [layer.name.rsplit(".", up)[0] for up in range(layer.name.count(".") + 1)]
        return next((self._held[name] for name in around if name in self._held), self._otherwise)

    def beside(self, layer: Layer) -> list[str]:
        """Name the other layers of the same part."""
        return sorted(self._parts.get(layer.name, frozenset()) - {layer.name})
