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
from trainables.catalog.curriculum_contract import check_curriculum, check_measure
from trainables.catalog.training_contract import check_optimizer, check_recovery
from trainables.models import hub
from trainables.names import CRITERION_NEEDS, GranularityName, Source
from trainables.plugins import FunctionKind, needs_of
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA, Scores, criterion
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Prunable

SHARES = (0.3, 0.6, 0.9)  # of the range of sparsities that a network leaves
EXAMPLE = (1, 1, 8, 8)


def check_function(kind: FunctionKind, name: str) -> list[str]:
    """Run a function of the user's own as trials do. Return lines about what held.

    Raises ValueError that names the rule, the value and what to change.
    """
    checks: dict[FunctionKind, Callable[[str], Iterator[str]]] = {
        "policy": _policy,
        "criterion": _criterion,
        "recovery": check_recovery,
        "optimizer": check_optimizer,
        "measure": check_measure,
        "curriculum": check_curriculum,
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
