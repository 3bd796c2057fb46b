"""Checks that need the network itself: whether it can be pruned as the settings of a trial ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from trainables.allocation import budget
from trainables.allocation.plan import of_what_is_left, plan
from trainables.allocation.policies import policy
from trainables.allocation.problem import Problem
from trainables.arguments import Arguments
from trainables.catalog.recipe_checks import weight_complaints
from trainables.catalog.task_checks import complaints_of_hits, distillation_complaint
from trainables.checkpoints import pretrained
from trainables.checkpoints.checkpoint import Architecture
from trainables.data import sources
from trainables.exports.quantise import try_to_quantise
from trainables.latency.measuring import inputs_of
from trainables.latency.table import LatencyTable
from trainables.models import trial_run
from trainables.models.inputs import Inputs
from trainables.models.layers import Count, count
from trainables.models.trial_run import first_line
from trainables.own_function import is_external
from trainables.plugins import needs_of
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import criterion
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable
from trainables.pruning.rules import without_effect
from trainables.pruning.soundness import refuse_unsound_cuts, refuse_unsound_gates
from trainables.pruning_spec import Gates, LayerRule
from trainables.spec import DenseSpec, TrialSpec
from trainables.task.fit_check import refuse_unfit
from trainables.task.loading import load_task


def unreachable(specs: list[TrialSpec]) -> list[str]:
    """List what is wrong with trials once their networks are built, at their true widths.

    These are images and files with weights that do not fit, criteria that cannot score a network, budgets that cannot
    be reached, and rules for layers that have no effect on any network of the trials. Where all this is right, they are
    networks that cannot be quantised, although a trial shall quantise them.
    """
    inputs = sources.inputs(specs[0].dense.data)
    problems = [*unsaid(specs), *(text for spec in specs for text in weight_complaints(spec, inputs.classes))]
    scored: set[tuple[object, ...]] = set()
    views: dict[tuple[object, ...], _Blank | None] = {}
    idle: dict[str, dict[LayerRule, str]] = {}  # model -> rules without effect on it -> the reason
    for spec in specs:
        structure = (spec.dense.model, spec.granularity, "gates" in spec.inputs, spec.before, spec.budget)
        least = policy(spec.policy).least
        subject = spec.dense.model if least is budget.floors else f"{spec.dense.model}, policy {spec.policy!r}"
        try:
            if structure not in views:
                views[structure] = None
                views[structure] = built = _view(spec, inputs)
                idle[spec.dense.model] = without_effect(built.prunable, spec.layers, built.whole.weights)
            if (blank := views[structure]) is not None:
                prunable, asked = blank.prunable, of_what_is_left(spec, blank.whole, blank.left)
                if (*structure, spec.criterion) not in scored and not needs_of("criterion", spec.criterion).inputs:
                    scored.add((*structure, spec.criterion))
                    criterion(spec.criterion)(PruningContext(prunable))
                if prunable.latency or spec.budget != "latency":  # else it is measured after this check
                    budget.total(prunable, asked.sparsity, spec.budget, least(prunable))
                if spec.densities is not None:
                    _refuse_densities(spec, prunable)
        except Exception as error:
            if not (isinstance(error, ValueError) or is_external(spec.dense.model) or spec.functions):
                raise
            problems.append(_complaint(subject, spec.dense.model, error))
    problems += _idle_everywhere(idle)
    return list(dict.fromkeys(problems)) or _unquantisable(specs, inputs)


def _unquantisable(specs: Sequence[TrialSpec], inputs: Inputs) -> list[str]:
    """Quantise each network that a trial will quantise, with fresh weights. List what cannot be."""
    problems = []
    for dense in {spec.dense.model: spec.dense for spec in specs if spec.quantise != "off"}.values():
        built = Architecture.of(dense, inputs)
        try:
            try_to_quantise(built.build(), built.example())
        except ValueError as error:
            problems.append(_complaint(dense.model, dense.model, error))
    return problems


def unsaid(specs: Sequence[TrialSpec]) -> list[str]:
    """List the settings for which the task of a trial says too little."""
    problems = []
    for spec in specs:
        if function := spec.dense.data.task.function:
            task = load_task(function)
            problems += complaints_of_hits(spec, task.hits is not None, task.labels is not None)
            if spec.recovery == "distill":
                problems += distillation_complaint(spec.distillation, task.logits)
    return problems


def _idle_everywhere(idle: Mapping[str, Mapping[LayerRule, str]]) -> list[str]:
    """List the rules that have no effect on any model, with the reason of the first one."""
    model, first = next(iter(idle.items()), ("", {}))
    return [
        f"{model}: {complaint_of_rule(rule, reason)}"
        for rule, reason in first.items()
        if all(rule in rules for rules in idle.values())
    ]


def _refuse_densities(spec: TrialSpec, prunable: Prunable) -> None:
    """Raise ValueError if densities name parts that a network lacks, or lack parts that it has."""
    problem = Problem(PruningContext(prunable), {}, spec.sparsity, spec.budget, densities=spec.densities)
    policy(spec.policy).path(problem)


def refuse_idle_rules(prunable: Prunable, rules: Sequence[LayerRule]) -> None:
    """Raise ValueError if rules have no effect on a network."""
    if idle := without_effect(prunable, rules):
        raise ValueError("\n".join(complaint_of_rule(rule, reason) for rule, reason in idle.items()))


def complaint_of_rule(rule: LayerRule, reason: str) -> str:
    """Word the error for a rule that has no effect, with one reason of `without_effect`."""
    return f"rule {rule.label!r} in layers must change what a part keeps, but {reason}"


def prove_cuts(name: str, model: nn.Module, example: Arguments) -> None:
    """Refuse a network whose channels cannot be cut, with the error of `unreachable`. example: (1, ...)."""
    try:
        refuse_unsound_cuts(model, example)
    except Exception as error:
        raise ValueError(_complaint(name, name, error)) from error


def _complaint(subject: str, model: str, error: Exception) -> str:
    """Word an error in one line that names its network once."""
    if not isinstance(error, ValueError):
        return (
            f"{subject}: must be a network that can be pruned, but failed with: {first_line(error)}; correct the model"
        )
    return str(error) if str(error).startswith(model) else f"{subject}: {error}"


@dataclass(frozen=True, eq=False)
class _Blank:
    """A network with fresh weights before a trial's own pruning; the counts of the dense network and of this one."""

    prunable: Prunable
    whole: Count
    left: Count


def _view(spec: TrialSpec, inputs: Inputs) -> _Blank:
    """Build a trial's network and carry out its earlier prunings with the uniform policy and random units."""
    built = Architecture.of(spec.dense, inputs)
    _try(spec.dense, built)
    model, example = built.build(), built.example()
    _refuse_frozen(spec, model)
    pretrained.try_file(model, spec.dense)
    whole = left = count(model, {}, example)
    for pruning in spec.prunings:
        if pruning.granularity == "channel":
            refuse_unsound_cuts(model, example)
        if "gates" in pruning.inputs:
            refuse_unsound_gates(model, example)
        if pruning.granularity != spec.granularity:
            random_units = pruning.model_copy(update={"policy": "uniform", "criterion": "random", "gates": Gates()})
            plan(model, example, of_what_is_left(random_units, whole, left)).carry_out()
            left = count(model, {}, example)
    return _Blank(_seen(spec, model, example), whole, left)


def _seen(spec: TrialSpec, model: nn.Module, example: Arguments) -> Prunable:
    """View a network as a trial does. It has its latency if the trial names a table, which must be of this network."""
    prunable = view(model, spec.granularity, example, spec.round_to, spec.layers)
    if not spec.device.table:
        return prunable
    table = LatencyTable.at(spec.device.table)
    table.refuse_other(prunable, inputs_of(example))
    return table.priced(prunable)


def _try(dense: DenseSpec, built: Architecture) -> None:
    """Refuse a network that no trial can train: images or one batch of the task go through it."""
    if function := dense.data.task.function:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            refuse_unfit(function, load_task(function), built.build(), dense.model)
        return
    channels, height, width = built.image
    trial_run.check_images(built.model, built.classes, (channels, height, width), built.width)


def _refuse_frozen(spec: TrialSpec, model: nn.Module) -> None:
    """Refuse to train a network of which all parameters are frozen. Without epochs of training it can be pruned."""
    epochs = {"dense.epochs": spec.dense.recipe.epochs, "finetune.epochs": spec.finetune.epochs}
    asked = [f"{name}={number}" for name, number in epochs.items() if number]
    if asked and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"{spec.dense.model} must have a parameter to train, but all are frozen (requires_grad_(False)) and "
            f"{' and '.join(asked)}; leave a layer trainable, or set both to 0"
        )


def blank(spec: TrialSpec) -> Prunable:
    """Return the prunable units of a trial's network with fresh weights; see `unreachable` for the checks."""
    built = Architecture.of(spec.dense, sources.inputs(spec.dense.data))
    return _seen(spec, built.build(), built.example())
