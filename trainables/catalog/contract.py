"""The contract of a function of the user's own, checked on a small network with random weights and images."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.allocation.budget import reachable
from trainables.allocation.policies import allocate, policy
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import Profile, levels_of
from trainables.catalog.contract_rules import called, must, short
from trainables.catalog.curriculum_contract import curriculum, measure
from trainables.data.batches import Batch
from trainables.models import hub
from trainables.names import CRITERION_NEEDS, GranularityName, Source
from trainables.plugins import FunctionKind, load, needs_of
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA, Scores, criterion
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.task.classification import CLASSIFICATION
from trainables.training.recovery import Pruned, recovery
from trainables.training.train import TrainingPlan
from trainables.training.updates import Updates

SHARES = (0.3, 0.6, 0.9)  # of the range of sparsities that a network leaves
EXAMPLE = (1, 1, 8, 8)


def check_function(kind: FunctionKind, name: str) -> list[str]:
    """Run a function of the user's own as trials do. Return lines about what held.

    Raises ValueError that names the rule, the value and what to change.
    """
    checks: dict[FunctionKind, Callable[[str], Iterator[str]]] = {
        "policy": _policy,
        "criterion": _criterion,
        "recovery": _recovery,
        "optimizer": _optimizer,
        "measure": measure,
        "curriculum": curriculum,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return list(checks[kind](name))


def _policy(name: str) -> Iterator[str]:
    rule = policy(name)
    for granularity in needs_of("policy", name).granularities:
        model, context = _context("policy", name, granularity)
        scores = CRITERIA[_fitting(granularity)](context)
        before = deepcopy(model.state_dict())
        low, high = reachable(context.prunable, "params", rule.least(context.prunable))
        for share in SHARES:
            sparsity = low + share * (high - low)
            problem = Problem(context, scores, sparsity, "params")
            path = called(name, rule.path, problem)
            points = [np.asarray(called(name, path, scale)) for scale in (0.5, 1.0, 2.0)]
            shape = (len(context.prunable.parts),)
            must(
                all(point.shape == shape and np.isfinite(point).all() for point in points),
                f"policy {name!r} must return a path: scale -> finite units of each part, an array of shape {shape}, "
                f"but at scale 1 it gives {short(points[1])}",
            )
            must(
                all((later >= earlier - 1e-9).all() for earlier, later in pairwise(points)),
                f"the path of policy {name!r} must give no part fewer units at a larger scale, but it does; make it "
                "rise with the scale",
            )
            keep = allocate(rule, problem)
            must(
                keep == allocate(rule, problem),
                f"policy {name!r} must share a budget the same way twice, but it does not; draw by "
                "problem.context.seed",
            )
        _unchanged(f"policy {name!r}", model, before)
        yield f"{granularity}: {len(SHARES)} budgets met; at sparsity {sparsity:.2f} it keeps {short(keep)}"


def _criterion(name: str) -> Iterator[str]:
    score = criterion(name)
    for granularity in needs_of("criterion", name).granularities:
        model, context = _context("criterion", name, granularity)
        before = deepcopy(model.state_dict())
        scores: Scores = called(name, score, context)
        parts = {part.name: part.units for part in context.prunable.parts}
        sizes = (
            {part: tuple(values.shape) for part, values in scores.items() if isinstance(values, Tensor)}
            if isinstance(scores, dict)
            else scores
        )
        must(
            sizes == {part: (units,) for part, units in parts.items()},
            f"criterion {name!r} must score each unit of each part: part name -> tensor (units,), here "
            f"{short(parts)}, but it gives {short(sizes)}",
        )
        must(
            all(bool(values.isfinite().all()) for values in scores.values()),
            f"the scores of criterion {name!r} must be finite, but some are not; correct them",
        )
        again: Scores = called(name, score, context)
        must(
            all(torch.equal(values, again[part]) for part, values in scores.items()),
            f"criterion {name!r} must score the same way twice, but it does not; draw by context.seed",
        )
        _unchanged(f"criterion {name!r}", model, before)
        yield f"{granularity}: {len(parts)} parts scored"


def _recovery(name: str) -> Iterator[str]:
    model = hub.build("small_cnn", 10, 1, 0.25)
    spec = TrialSpec(recovery=name)
    made = called(name, recovery(name), Pruned(spec, 2.0, lambda: deepcopy(model)))
    must(
        isinstance(made, TrainingPlan),
        f"recovery {name!r} must return a TrainingPlan, but returned a {type(made).__name__}; return pruned.plan(...)",
    )
    images, labels = torch.randn(16, *EXAMPLE[1:]), torch.randint(10, (16,))
    logits: Tensor = model.train()(images)
    batch = Batch((images, labels), images, torch.arange(16))
    loss = called(name, made.loss(CLASSIFICATION), batch, logits)
    must(
        isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad and bool(loss.isfinite()),
        f"the loss of recovery {name!r} must be a finite scalar with a gradient, but is {short(loss)}",
    )
    yield f"{made.epochs} epochs for a trial with finetune.epochs {spec.finetune.epochs}, loss {loss.item():.3f}"


def _optimizer(name: str) -> Iterator[str]:
    recipe, before = Recipe(epochs=2, optimizer=name), hub.build("small_cnn", 10, 1, 0.25).train()
    images, labels = torch.randn(16, *EXAMPLE[1:]), torch.randint(10, (16,))
    build = load("optimizer", name)
    made = called(name, build, list(deepcopy(before).named_parameters()), recipe)
    must(
        isinstance(made, torch.optim.Optimizer),
        f"optimizer {name!r} must return an optimizer of torch (torch.optim.Optimizer), but returned a "
        f"{type(made).__name__}; return one",
    )

    def step(model: nn.Module, updates: Updates, done: float) -> None:
        updates.set_progress(done)
        called(name, updates.step, nn.functional.cross_entropy(model(images), labels))

    whole = deepcopy(before)
    places = [value.data_ptr() for value in whole.parameters()]
    updates = Updates(whole, recipe)
    step(whole, updates, 0.0)
    step(whole, updates, 0.25)
    changed = [key for key, value in whole.named_parameters() if not torch.equal(value, before.get_parameter(key))]
    must(bool(changed), f"optimizer {name!r} must change weights, but changes none; give it the parameters")
    must(
        all(bool(value.isfinite().all()) for value in whole.parameters()),
        f"optimizer {name!r} must keep weights finite at a rate of {recipe.lr}, but does not; take steps of this rate",
    )
    must(
        places == [value.data_ptr() for value in whole.parameters()],
        f"optimizer {name!r} must change weights in place, as CUDA graphs and averages need, but puts others there; "
        "use the in-place operations of torch",
    )
    kept = [entry for state in updates.state.values() for entry, value in state.items() if not _is_kept(value)]
    must(
        not kept,
        f"optimizer {name!r} must keep its state as tensors, so that a killed training goes on, but {kept[:1]} is "
        "none; make it a tensor",
    )
    again = deepcopy(whole)
    resumed = Updates(again, recipe)
    resumed.remember({key: value.clone() for key, value in updates.memory().items()})
    step(whole, updates, 0.5)
    step(again, resumed, 0.5)
    must(
        all(torch.equal(value, again.get_parameter(key)) for key, value in whole.named_parameters()),
        f"optimizer {name!r} must go on from the state of each parameter, as after a kill, but goes on otherwise; keep "
        "all it needs in optimizer.state",
    )
    yield f"{type(made).__name__}: steps change {len(changed)} parameters, and go on from a saved state"


def _is_kept(value: object) -> bool:
    return value is None or isinstance(value, Tensor)


def _context(kind: FunctionKind, name: str, granularity: GranularityName) -> tuple[nn.Module, PruningContext]:
    """Give a function a network, and what it reads."""
    model = hub.build("small_cnn", 10, 1, 0.5).eval()
    example = torch.zeros(EXAMPLE)
    samples = Calibration((torch.randn(64, *EXAMPLE[1:]), torch.randint(10, (64,))))
    inputs = needs_of(kind, name).inputs
    shared: dict[Source, Any] = {}
    if "profile" in inputs:
        shared["profile"] = _profile(view(model, granularity, example))
    calibration = samples if "samples" in inputs else None
    return model, PruningContext(view(model, granularity, example), 0, calibration, shared)


def _profile(prunable: Prunable) -> Profile:
    """Make up a profile: what is lost rises with the level, and more for later parts."""
    levels = levels_of(5)
    loss = {part.name: tuple(level * n / 10 for level in levels) for n, part in enumerate(prunable.parts, start=1)}
    accuracy = {name: tuple(max(0.0, 0.9 - lost) for lost in losses) for name, losses in loss.items()}
    return Profile(levels, 0.9, accuracy, loss, loss, loss)


def _fitting(granularity: GranularityName) -> str:
    """Name a criterion that reads nothing."""
    return next(n for n, needs in CRITERION_NEEDS.items() if granularity in needs.granularities and not needs.inputs)


def _unchanged(what: str, model: nn.Module, before: dict[str, Tensor]) -> None:
    same = all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    must(same, f"{what} must leave the network as it is, but it changes weights or statistics; work on a copy")
    must(not model.training, f"{what} must leave the network in eval mode, but it does not; set model.eval() again")
