"""A plan says what each part of one network keeps. It is decided before anything is removed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.allocation.budget import reachable
from trainables.allocation.policies import allocate, policy
from trainables.allocation.problem import Problem
from trainables.allocation.schedules import sparsities
from trainables.arguments import Arguments
from trainables.models.layers import Count, Masks
from trainables.names import Source
from trainables.outcome import Cost
from trainables.pruning.context import Calibration, Meter, PruningContext
from trainables.pruning.criteria import Scores, criterion
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Cut, Prunable, top_units
from trainables.pruning.latency_cost import PICOSECONDS
from trainables.pruning.rules import bounded
from trainables.pruning_spec import Schedule
from trainables.spec import TrialSpec

Quota = Mapping[str, int]  # part name -> units to keep


@dataclass(frozen=True)
class Plan:
    """How many units each part keeps after each step of the schedule, and which units it keeps after the first step."""

    prunable: Prunable
    steps: tuple[Quota, ...]
    kept_units: Mapping[str, Tensor]  # part name -> sorted unit indices
    cost: Cost  # of scoring and of sharing the budget

    @property
    def parts(self) -> dict[str, float]:
        """Part name -> fraction of its units that the part keeps after the last step."""
        return {part.name: self.steps[-1][part.name] / part.units for part in self.prunable.parts}

    @property
    def latency_ms(self) -> float | None:
        """The predicted latency after the last step; None where no latency was measured."""
        kept = np.array([self.steps[-1][part.name] for part in self.prunable.parts])
        return None if self.prunable.latency is None else self.prunable.cost(kept, "latency") / PICOSECONDS

    def carry_out(self) -> Cut:
        """Take the first step in place. One-shot pruning has no other step."""
        return self.prunable.remove(self.kept_units)


def of_what_is_left(spec: TrialSpec, whole: Count, left: Count) -> TrialSpec:
    """Express a sparsity of the dense network as one of what earlier prunings left; both keep the same amount."""
    if left is whole:
        return spec
    dense, now = (found.params_kept if spec.budget == "params" else found.macs_kept for found in (whole, left))
    return spec.model_copy(update={"sparsity": max(0.0, 1.0 - (1.0 - spec.sparsity) * dense / now)})


def plan(
    model: nn.Module,
    example: Arguments,
    spec: TrialSpec,
    calibration: Calibration | None = None,
    shared: Mapping[Source, Any] = MappingProxyType({}),
) -> Plan:
    """Share the budget of `spec` among the parts of a dense network and pick the units of highest score in each part.

    The policy shares each step's sparsity on the dense network. A part keeps at least what a later step leaves it (our
    choice), so the last step keeps what one-shot pruning keeps. example: (1, ...) on the network's device.
    calibration, shared: what the criterion and the policy read.
    """
    spent = Meter(calibration)
    prunable = view(model, spec.granularity, example, spec.round_to, spec.layers)
    if spec.budget == "latency":
        prunable = shared["latency"].priced(prunable)
    context = PruningContext(prunable, spec.seed, calibration, shared)
    scores = criterion("gates" if spec.joint else spec.criterion)(context)
    steps = quotas(spec, context, scores)
    return Plan(prunable, steps, _pick(scores, steps[0]), spent.read())


def quotas(spec: TrialSpec, context: PruningContext, scores: Scores) -> tuple[Quota, ...]:
    """Share the budget of each step of the schedule: the units that each part keeps after each step.

    The shares that rules for layers ask for fall along the schedule, as the budget does. A step before the last one
    comes as close to its sparsity as the rules allow.
    """
    chosen = policy(spec.policy)
    problem = Problem(
        context,
        scores,
        spec.sparsity,
        spec.budget,
        recalibrated=spec.recalibrate > 0,
        compensated=spec.compensate,
        training=spec.finetune if spec.trains_kept_weights else None,
        densities=spec.densities,
    )
    steps, targets = [allocate(chosen, problem)], sparsities(spec.schedule, spec.sparsity)
    for step in reversed(range(len(targets) - 1)):
        at = partial(_share_at, spec.schedule, step)
        prunable = bounded(context.prunable, spec.layers, at)
        low, high = reachable(prunable, spec.budget, chosen.least(prunable))
        sparsity = min(max(targets[step], low), high)
        share = allocate(chosen, replace(problem, context=replace(context, prunable=prunable), sparsity=sparsity))
        steps.insert(0, {name: max(units, steps[0][name]) for name, units in share.items()})
    return tuple(steps)


def _share_at(schedule: Schedule, step: int, share: float) -> float:
    """Return the share of its units that a part keeps after a step if it keeps `share` after the last one."""
    return 1.0 - sparsities(schedule, 1.0 - share)[step]


def prune_further(
    model: nn.Module, example: Arguments, spec: TrialSpec, calibration: Calibration | None, masks: Masks, quota: Quota
) -> Cut:
    """Take a later step in place: keep the units that score highest now among those that are left."""
    prunable = view(model, spec.granularity, example)
    scores = criterion(spec.criterion)(PruningContext(prunable, spec.seed, calibration))
    gone = {
        part.name: ~layer.of(masks[layer.parameter]).flatten()
        for part in prunable.parts
        for layer in part.layers
        if layer.parameter in masks
    }
    left = {
        name: score.masked_fill(gone[name].to(score.device), -torch.inf) if name in gone else score
        for name, score in scores.items()
    }
    parts = [part.name for part in prunable.parts]  # a group with one channel left is no part
    return prunable.remove(_pick(left, {name: quota[name] for name in parts}))


def _pick(scores: Scores, quota: Quota) -> dict[str, Tensor]:
    return {name: top_units(scores[name], units) for name, units in quota.items()}
