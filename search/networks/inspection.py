"""What a network consists of: each weight matrix and each other parameter, and at which granularity it is pruned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from torch import nn

from trainables.arguments import Arguments
from trainables.catalog import feasibility
from trainables.frozen import Frozen
from trainables.models.layers import Layer, inventory
from trainables.names import GranularityName
from trainables.pruning.blocks import Blocks
from trainables.pruning.granularities import view
from trainables.pruning.rules import rule_of, without_effect
from trainables.pruning_spec import LayerRule

Prunable = dict[GranularityName, bool | str]  # granularity -> True, or the reason why not
GRANULARITIES: tuple[GranularityName, ...] = get_args(GranularityName)


class RuleBound(Frozen):
    """What a rule lets the part of a layer keep."""

    rule: str  # in short
    part: str
    units: int  # that the part has
    least: int  # fewest units that it keeps
    most: int


class InspectedPart(Frozen):
    """A layer, a fixed parameter, or products of matrices without weights."""

    name: str
    kind: str  # class of its module; "products" for products without weights
    units: int  # output channels of a layer
    weights: int
    macs: int  # for one input
    coupled: list[str]  # layers whose channels go along, or that share the weight
    prunable: Prunable
    rules: dict[GranularityName, RuleBound]  # where a rule holds for its part


class Inspection(Frozen):
    """All parameters and multiply-accumulates of a network."""

    params: int
    params_prunable: int  # weights of layers; budgets count these
    params_fixed: int
    macs: int  # for one input
    parts: list[InspectedPart]
    idle_rules: dict[GranularityName, dict[str, str]]  # rule, in short -> why it changes nothing there
    trial_rules: str  # of the trial that has pruned the network, in short


def inspection(
    name: str, model: nn.Module, example: Arguments, rules: Sequence[LayerRule] = (), trial_rules: str = ""
) -> Inspection:
    """List what a network consists of: layers, fixed parameters, and products without weights.

    Args:
        name: what errors and reasons call the network.
        model: the network.
        example: its input, one image (1, C, H, W) or whatever else it reads.
        rules: for layers; shows what each one leaves to the parts that it matches.
        trial_rules: what the inspection says of the rules that the network was pruned by.

    Raises:
        ValueError: a rule has no effect at any granularity that has units to prune, or a layer computes its weight.
    """
    found = inventory(model, example)
    views = {each: _View.of(each, name, model, example, rules) for each in GRANULARITIES}
    _refuse_idle(rules, list(views.values()))
    parts = [
        InspectedPart(
            name=layer.name,
            kind=layer.kind,
            units=layer.outputs,
            weights=layer.size,
            macs=layer.macs,
            coupled=[*dict.fromkeys((*layer.shared, *views["channel"].beside(layer)))],
            prunable={each: seen.prunable(layer) for each, seen in views.items()},
            rules={each: seen.bounds[layer.name] for each, seen in views.items() if layer.name in seen.bounds},
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
            rules={},
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
            rules={},
        )
        for module, macs in found.products.items()
    ]
    return Inspection(
        params=found.params,
        params_prunable=found.params - found.params_fixed,
        params_fixed=found.params_fixed,
        macs=sum(layer.macs for layer in found.layers) + found.macs_fixed,
        parts=parts,
        idle_rules={each: _by_label(seen.idle) for each, seen in views.items() if seen.idle},
        trial_rules=trial_rules,
    )


def _by_label(reasons: Mapping[LayerRule, str]) -> dict[str, str]:
    return {rule.label: reason for rule, reason in reasons.items()}


def _refuse_idle(rules: Sequence[LayerRule], views: Sequence["_View"]) -> None:
    """Raise ValueError for rules that change nothing at any granularity."""
    by_view = [seen.idle for seen in views if seen.parts]
    idle = [rule for rule in rules if by_view and all(rule in idle for idle in by_view)]
    if idle:
        raise ValueError("\n".join(feasibility.complaint_of_rule(rule, by_view[0][rule]) for rule in idle))


@dataclass(frozen=True)
class _View:
    """A network at one granularity."""

    otherwise: str  # why a layer is not pruned that is neither in a part nor held
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)  # layer -> the layers of its part
    held: Mapping[str, str] = field(default_factory=dict)  # layer or block -> reason
    bounds: Mapping[str, RuleBound] = field(default_factory=dict)  # layer -> what a rule lets its part keep
    idle: Mapping[LayerRule, str] = field(default_factory=dict)  # rule that changes nothing -> why

    @classmethod
    def of(
        cls, granularity: GranularityName, name: str, model: nn.Module, example: Arguments, rules: Sequence[LayerRule]
    ) -> "_View":
        """View a network. Where it has no units at this granularity, that is the reason for all layers."""
        try:
            if granularity == "channel":
                feasibility.prove_cuts(name, model, example)
            seen = view(model, granularity, example, rules=rules)
        except ValueError as error:
            return cls(str(error))
        parts: dict[str, frozenset[str]] = {}
        bounds: dict[str, RuleBound] = {}
        for part in seen.parts:
            layers = [layer.name for layer in part.layers]
            if part.units > part.floor:
                parts |= dict.fromkeys(layers, frozenset(layers))
            if rule := rule_of(part, rules):
                bound = RuleBound(rule=rule.label, part=part.name, units=part.units, least=part.least, most=part.most)
                bounds |= dict.fromkeys(layers, bound)
        otherwise = "in no block" if isinstance(seen, Blocks) else "all its units stay"
        return cls(otherwise, parts, seen.held, bounds, without_effect(seen, rules))

    def prunable(self, layer: Layer) -> bool | str:
        """Tell whether units of a layer can be removed, or why not."""
        if layer.name in self.parts:
            return True
        around = [layer.name.rsplit(".", up)[0] for up in range(layer.name.count(".") + 1)]
        return next((self.held[name] for name in around if name in self.held), self.otherwise)

    def beside(self, layer: Layer) -> list[str]:
        """Name the other layers of the same part."""
        return sorted(self.parts.get(layer.name, frozenset()) - {layer.name})
