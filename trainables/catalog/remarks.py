"""What a run says of networks at its start: frozen and whole layers, fixed parameters, rules, given densities."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from trainables.allocation.budget import ceilings, dense_counts, floors
from trainables.arguments import Arguments
from trainables.catalog import feasibility
from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.models.layers import inventory
from trainables.names import GIVEN, NAMES
from trainables.pruning.channels import Channels
from trainables.pruning.held import much_fixed, some, with_reasons
from trainables.pruning.rules import rounded
from trainables.spec import DenseSpec, TrialSpec
from trainables.tracing.trace import OUTPUT

AGREES = 0.001  # the largest difference at which two sparsities count as equal


def remarks(networks: Iterable[DenseSpec]) -> list[str]:
    """List, for each network, its frozen layers, and its fixed parameters if they are more than a tenth of it.

    The project's own networks have neither.
    """
    lines: list[str] = []
    for spec in {network.model: network for network in networks if network.model not in NAMES["model"]}.values():
        model, example = _fresh(spec)
        if frozen := [name for name, parameter in model.named_parameters() if not parameter.requires_grad]:
            lines.append(f"{spec.model}: frozen, so never trained: {some(frozen)}")
        found = inventory(model, example)
        if line := much_fixed(found.params_fixed, found.params):
            largest = sorted(found.fixed.items(), key=lambda each: -each[1].size)
            lines.append(f"{spec.model}: {line}: {with_reasons({name: each.reason for name, each in largest})}")
    return lines


def whole_layers(trials: Iterable[TrialSpec]) -> list[str]:
    """List, for each network whose channels are pruned, the layers that keep all of them, beside those of its output.

    Trials with earlier prunings are left out: their layers are known when they run.
    """
    lines: list[str] = []
    for spec in {trial.dense.model: trial for trial in trials if trial.granularity == "channel"}.values():
        if spec.dense.model in NAMES["model"] or spec.before:
            continue
        channels = Channels(*_fresh(spec.dense), spec.round_to)
        if held := {name: reason for name, reason in channels.held.items() if reason != OUTPUT}:
            lines.append(
                f"{spec.dense.model}: {len(held)} of {len(channels.layers)} layers keep all their channels: "
                f"{with_reasons(held)}"
            )
    return lines


def ruled(trials: Iterable[TrialSpec]) -> list[str]:
    """List, for each network, how many parts the rules for layers bind, and the parts whose shares are rounded.

    Trials with earlier prunings are left out, as in `whole_layers`.
    """
    lines: list[str] = []
    for spec in {trial.dense.model: trial for trial in trials if trial.layers and not trial.before}.values():
        prunable = feasibility.blank(spec)
        bound = sum(part.bounds is not None for part in prunable.parts)
        fixed = sum(not part.is_free for part in prunable.parts)
        lines.append(
            f"{spec.dense.model}: rules for layers bind {bound} of {len(prunable.parts)} parts and fix {fixed}"
        )
        if texts := rounded(prunable, spec.layers):
            lines.append(f"{spec.dense.model}: parts keep whole units: {with_reasons(texts)}")
    return lines


def bent(trials: Iterable[TrialSpec]) -> list[str]:
    """List, for each network, the sparsities to which given densities are bent, as they have another sparsity.

    Trials with earlier prunings are left out, as in `whole_layers`, and budgets of a latency that is not measured yet.
    """
    given = [trial for trial in trials if trial.policy == GIVEN and not trial.before]
    lines: list[str] = []
    for spec in {trial.dense.model: trial for trial in given}.values():
        asked = dict.fromkeys(trial.sparsity for trial in given if trial.dense.model == spec.dense.model)
        prunable, densities = feasibility.blank(spec), spec.densities or {}
        if spec.budget == "latency" and prunable.latency is None:
            continue
        shares = [round(densities.get(part.name, 1.0) * part.units) for part in prunable.parts]
        units = np.clip(np.array(shares, dtype=np.int64), floors(prunable), ceilings(prunable))
        kept = prunable.cost(units, spec.budget) / prunable.cost(dense_counts(prunable), spec.budget)
        if others := [f"{sparsity:g}" for sparsity in asked if abs(1.0 - kept - sparsity) > AGREES]:
            lines.append(
                f"{spec.dense.model}: the given densities have sparsity {1.0 - kept:.4f}; one factor bends "
                f"them to {', '.join(others)}"
            )
    return lines


def _fresh(spec: DenseSpec) -> tuple[nn.Module, Arguments]:
    """Build a network with fresh weights, and a blank input (1, ...)."""
    built = Architecture.of(spec, sources.inputs(spec.data))
    with torch.random.fork_rng(devices=[]):
        return built.build(), built.example()
