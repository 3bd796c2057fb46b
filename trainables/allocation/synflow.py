"""SynFlow: densities from synaptic flow, without data."""

import copy

import torch
from torch import Tensor

from trainables.allocation.budget import Path, dense_counts, spend
from trainables.allocation.problem import Problem
from trainables.allocation.ranked import by_score
from trainables.arguments import each, outputs_of
from trainables.pruning.granularity import Prunable, top_units

ROUNDS = 100


def synflow(problem: Problem) -> Path:
    """One threshold on synaptic flow, reached in 100 rounds of exponentially falling density (arXiv 2006.05467).

    Tanaka et al.: every state tensor becomes its absolute value, the input is all ones, the network is in eval mode, R
    is the sum of its outputs, and the score of a weight is |dR/dw w|. After round k the density is rho^(k/100), of the
    problem's kind of budget. Our reading for channels: the sum over their weights. It runs in float64, as R grows with
    every layer. Raises ValueError where R overflows.
    """
    prunable = copy.deepcopy(problem.prunable)
    with torch.no_grad():
        for tensor in prunable.model.eval().requires_grad_(True).double().state_dict().values():
            if tensor.is_floating_point():
                tensor.abs_()
    dense = prunable.cost(dense_counts(prunable), problem.budget)
    rho = problem.total / dense
    scores = flow(prunable)
    for k in range(1, ROUNDS):
        counts = spend(by_score(problem, scores), prunable, round(rho ** (k / ROUNDS) * dense), problem.budget)
        parts = zip(prunable.parts, counts, strict=True)
        prunable.mask({part.name: top_units(scores[part.name], int(units)) for part, units in parts})
        scores = flow(prunable)
    return by_score(problem, scores)


def _ones(tensor: Tensor) -> Tensor:
    return torch.ones_like(tensor, dtype=torch.float64) if tensor.is_floating_point() else tensor


def flow(prunable: Prunable) -> dict[str, Tensor]:
    """Score every unit of a network of absolute values by |dR/dw w|: part name -> (units,) in float64."""
    model = prunable.model
    names = list(dict.fromkeys(layer.parameter for part in prunable.parts for layer in part.layers))
    weights = [model.get_parameter(name) for name in names]
    flowing = outputs_of(model, each(_ones, prunable.example)).sum()
    gradients = torch.autograd.grad(flowing, weights, materialize_grads=True)
    flows = {name: (of * w).abs() for name, of, w in zip(names, gradients, weights, strict=True)}
    units = prunable.members(flows.__getitem__)
    scores = {name: unit.sum(1) for name, unit in units.items()}
    if not all(score.sum().isfinite() for score in scores.values()):
        raise ValueError(
            f"policy 'synflow' must have a flow within the range of float64, but that of {type(model).__name__} "
            "exceeds it; use another policy"
        )
    return scores
