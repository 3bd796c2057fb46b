"""Verifies what a trial keeps against its rules for layers: bounds are derived again from its dense network."""

import numpy as np
from torch import nn

from trainables.checkpoints.checkpoint import Checkpoint
from trainables.models.layers import Count
from trainables.outcome import Facts
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Part
from trainables.pruning.rules import rule_of
from trainables.spec import TrialSpec


def beyond_rules(saved: Checkpoint, spec: TrialSpec, facts: Facts, counted: Count) -> list[str]:
    """Name each part that keeps another share of its units than its rule allows.

    saved: the pruned network. counted: its weights. Shares of weights are those of the network itself. Shares of
    channels and blocks are the reported ones, which must cost what the network has. Without rules there are no
    problems. A trial that cuts channels behind projections is not checked, as no file has their full widths.
    """
    if not spec.layers or (spec.before and spec.granularity == "channel" and saved.architecture.projections):
        return []
    network, example = _before_its_pruning(saved, spec), saved.architecture.example()
    prunable = view(network, spec.granularity, example, spec.round_to, spec.layers)
    kept = {part.name: _kept(part, spec, facts, counted) for part in prunable.parts}
    problems = [problem for part in prunable.parts if (problem := _beyond(part, kept[part.name], spec))]
    if not spec.before and None not in kept.values():
        weights = prunable.cost(np.array([*kept.values()]), "params")
        if weights != counted.params_kept:
            problems.append(
                f"the units that its parts keep have {weights:,} weights, but its network has {counted.params_kept:,}"
            )
    return problems


def _before_its_pruning(saved: Checkpoint, spec: TrialSpec) -> nn.Module:
    """Build a network with the parts that the trial's own pruning has seen; earlier prunings may have removed some."""
    if spec.granularity == "weight":
        return saved.network()
    return (saved.architecture.model_copy(update={"sizes": {}}) if spec.before else saved.architecture.whole).build()


def _kept(part: Part, spec: TrialSpec, facts: Facts, counted: Count) -> int | None:
    """Count the units that a part keeps. None: the trial does not say."""
    if spec.granularity == "weight":
        return sum(counted.weights[layer.name] for layer in part.layers)
    share = facts.parts.get(part.name)
    return None if share is None else round(share * part.units)


def _beyond(part: Part, kept: int | None, spec: TrialSpec) -> str:
    rule = rule_of(part, spec.layers)
    if rule is None or (kept is not None and part.least <= kept <= part.most):
        return ""
    if kept is None:
        return f"it does not say what {part.name} keeps, for which rule {rule.label!r} holds"
    allowed = f"{part.least:,}" if part.least == part.most else f"{part.least:,} to {part.most:,}"
    return f"{part.name} keeps {kept:,} of {part.units:,} units, but rule {rule.label!r} allows {allowed}"
