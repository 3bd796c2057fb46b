"""Rules for layers: the bounds that they give to the parts of a network, and the rules that have no effect."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import ceil, floor
from typing import TypeVar

from trainables.counts import quantity
from trainables.models.layers import Layer
from trainables.pruning.granularity import Part, Prunable
from trainables.pruning.held import some
from trainables.pruning_spec import LayerRule

ROUNDING = 1e-9  # by which the product of a share and a number of units may miss a whole number
DIFFERS = 1e-4  # a share that differs from the rule's by more is said

AnyPrunable = TypeVar("AnyPrunable", bound=Prunable)
Rules = Sequence[LayerRule]


def bounded(prunable: AnyPrunable, rules: Rules, at: Callable[[float], float] = float) -> AnyPrunable:
    """View the same network with bounds for the parts that rules match. The first rule that matches a part counts.

    at: maps the share of a rule to the share that holds now.
    """
    if not rules:
        return prunable
    seen = copy(prunable)
    seen.parts = tuple(_bounded(replace(part, bounds=None), rule_of(part, rules), at) for part in prunable.parts)
    return seen


def rule_of(part: Part, rules: Rules) -> LayerRule | None:
    """Find the first rule that matches a part: by its name or its layers; one that keeps all, also by its readers."""
    return next((rule for rule in rules if _matches_part(rule, part)), None)


def labels(prunable: Prunable, rules: Rules) -> dict[str, str]:
    """Name the rule that holds for each layer: that of its part, or one that matches the layer if it is in no part."""
    of_layers = {
        layer.name: rule.label for layer in prunable.layers for rule in reversed(rules) if _matches_layer(rule, layer)
    }
    of_parts = {
        layer.name: rule.label if (rule := rule_of(part, rules)) else ""
        for part in prunable.parts
        for layer in part.layers
    }
    return of_layers | of_parts


def rounded(prunable: Prunable, rules: Rules) -> dict[str, str]:
    """Say which parts keep another share than their rule asks for, as parts keep whole units: part name -> text."""
    texts = {}
    for part in prunable.parts:
        rule = rule_of(part, rules)
        if rule is None:
            continue
        (low, high), least, most = rule.shares, part.least / part.units, part.most / part.units
        if rule.density is not None and abs(least - low) > DIFFERS:
            texts[part.name] = f"{part.least:,} of {quantity(part.units, 'unit')} ({least:.4f}), not {low:g}"
        elif most > high + DIFFERS:
            texts[part.name] = f"{part.most:,} of {quantity(part.units, 'unit')} ({most:.4f}), not at most {high:g}"
    return texts


def without_effect(prunable: Prunable, rules: Rules, gone: Mapping[str, object] | None = None) -> dict[LayerRule, str]:
    """Find the rules that change nothing in a network, each with the reason.

    gone: names of further layers, which earlier prunings may have removed. Rules that match them are not listed.
    """
    return {
        rule: reason for n, rule in enumerate(rules) if (reason := _no_effect(prunable, rules[:n], rule, gone or {}))
    }


def _no_effect(prunable: Prunable, earlier: Rules, rule: LayerRule, gone: Mapping[str, object]) -> str:
    """Say why a rule changes nothing; empty if it changes something, or asks for what holds anyway."""
    parts = [part for part in prunable.parts if _matches_part(rule, part)]
    layers = [layer for layer in prunable.layers if _matches_layer(rule, layer)]
    if not parts and not layers:
        return (
            "" if any(not rule.type and fnmatchcase(name, rule.match) for name in gone) else _unmatched(prunable, rule)
        )
    taken = {part.name: first for part in parts if (first := rule_of(part, earlier))}
    if parts and len(taken) == len(parts):
        name, first = next(iter(taken.items()))
        return f"earlier rules hold for all that it matches, as {first.label!r} for {name}; put it before them"
    if not parts and rule.shares[1] < 1.0:
        names = [layer.name for layer in layers]
        reasons = [prunable.held[name] for name in names if name in prunable.held]
        return f"all units of {some(names)} stay ({reasons[0] if reasons else 'they are in no part'}); leave it out"
    return ""


def _unmatched(prunable: Prunable, rule: LayerRule) -> str:
    kinds = {layer.kind for layer in prunable.layers}
    if rule.type and (rule.type not in kinds or not rule.match):
        near = get_close_matches(rule.type, kinds, n=2, cutoff=0.5) or sorted(kinds)
        return f"no layer has the type {rule.type!r}; the nearest types are {some(near)}"
    names = list(dict.fromkeys(name for part in prunable.parts for name in _names_of(part)))
    names += [layer.name for layer in prunable.layers if layer.name not in names]
    ends = {name.rpartition(".")[2]: name for name in reversed(names)}  # the first name with each end
    known = ends | {name: name for name in names}
    near = list(dict.fromkeys(known[key] for key in get_close_matches(rule.match.strip("*?."), known, 3, 0.55)))
    hint = f"the nearest names are {some(near)}" if near else f"the names are {some(names)}"
    return f"no layer matches {rule.match!r}{f' and has the type {rule.type!r}' if rule.type else ''}; {hint}"


def _matches_part(rule: LayerRule, part: Part) -> bool:
    by_name = not rule.type and fnmatchcase(part.name, rule.match)
    layers = (*part.layers, *part.readers) if rule.keep else part.layers
    return by_name or any(_matches_layer(rule, layer) for layer in layers)


def _matches_layer(rule: LayerRule, layer: Layer) -> bool:
    named = not rule.match or any(fnmatchcase(name, rule.match) for name in (layer.name, *layer.shared))
    return named and rule.type in ("", layer.kind)


def _names_of(part: Part) -> tuple[str, ...]:
    return (part.name, *(layer.name for layer in part.layers))


def _bounded(part: Part, rule: LayerRule | None, at: Callable[[float], float]) -> Part:
    """Give a part the bounds of a rule, in units that it can keep: at least its floor, in multiples or all."""
    if rule is None:
        return part
    low, high = (at(share) * part.units for share in rule.shares)
    least = _whole(part, ceil(low - ROUNDING), up=True)
    most = _whole(part, floor(high + ROUNDING), up=False)
    if most < least and low == high:  # the nearest of the two, the larger one if both are as near
        least = most = least if least - low <= low - most else most
    return replace(part, bounds=(least, max(least, most)))


def _whole(part: Part, units: int, up: bool) -> int:
    if units >= part.units:
        return part.units
    multiples = -(-units // part.multiple) if up else units // part.multiple
    return min(part.units, max(part.floor, multiples * part.multiple))
