"""Policies that rank all units of the network together: one threshold decides how many each part keeps.

The criterion picks which units of a part stay.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.allocation.budget import Path, ranked
from trainables.allocation.problem import Problem
from trainables.pruning import criteria
from trainables.pruning.criteria import Scores

TINY = torch.finfo(torch.float64).tiny  # replaces a sum of 0 as a divisor


def by_score(problem: Problem, scores: Scores) -> Path:
    """Rank units by scores, which are finite and >= 0: part name -> (units,)."""
    return ranked([scores[part.name].double().cpu().numpy() for part in problem.prunable.parts])


def own_scores(problem: Problem) -> Path:
    """One threshold over the network on the scores of the criterion that picks the units."""
    return by_score(problem, problem.scores)


def isomorphic(problem: Problem) -> Path:
    """Rank by the scores of the criterion among units of one kind; all kinds keep the same share.

    After Isomorphic Pruning (arXiv 2407.04616), which ranks within substructures whose graphs are isomorphic. Raw
    scores of heads, of hidden units and of channels are not on one scale.
    """
    parts = problem.prunable.parts
    scores = [problem.scores[part.name].double().cpu().numpy() for part in parts]
    shares = [np.zeros(len(of_part)) for of_part in scores]
    for kind in {part.kind for part in parts}:
        alike = [p for p, part in enumerate(parts) if part.kind == kind]
        ends = np.cumsum([len(scores[p]) for p in alike])
        order = np.concatenate([scores[p] for p in alike]).argsort(kind="stable")
        share = np.empty(ends[-1])
        share[order] = np.arange(1, ends[-1] + 1) / ends[-1]  # 1 for the unit of highest score
        for p, of_part in zip(alike, np.split(share, ends[:-1]), strict=True):
            shares[p] = of_part
    return ranked(shares)


def gates(problem: Problem) -> Path:
    """One threshold on the values of trained gates (arXiv 1904.10921): open gates keep their channels first."""
    return by_score(problem, criteria.gates(problem.context))


def gates_joint(problem: Problem) -> Path:
    """The complete method of gates: their widths, their channels, and the weights that were trained along with them."""
    return gates(problem)


def squared_norms(problem: Problem) -> dict[str, Tensor]:
    """Compute squared Euclidean norms of the units' weights: part name -> (units,) in float64."""
    units = problem.prunable.members(problem.prunable.model.get_parameter)
    return {name: unit.double().square().sum(1) for name, unit in units.items()}


def global_magnitude(problem: Problem) -> Path:
    """One threshold on |w| over the network; for a channel on the root mean square of its weights (our reading)."""
    units = problem.prunable.members(problem.prunable.model.get_parameter)
    return by_score(problem, {name: unit.double().square().mean(1).sqrt() for name, unit in units.items()})


def lamp(problem: Problem) -> Path:
    """One threshold on LAMP scores: a unit's squared norm over the sum of all in its part that are not smaller.

    Lee et al. (arXiv 2010.07611) score single weights. Norms of channels are our reading.
    """
    squares = squared_norms(problem)
    return ranked([lamp_scores(squares[part.name].cpu().numpy()) for part in problem.prunable.parts])


def lamp_scores(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each square by the sum of all that are not smaller, itself included; squares: (units,).

    Returns (units,) scores in rising order.
    """
    rising = np.sort(squares)
    sums = rising[::-1].cumsum()[::-1]  # of each value and all larger ones
    first = np.flatnonzero(np.diff(rising, prepend=-1.0))  # of each run of equal values
    of_equals = np.repeat(sums[first], np.diff(first, append=len(rising)))
    return np.asarray(rising / np.maximum(of_equals, TINY))


def snip(problem: Problem) -> Path:
    """One threshold on |dL/dm|, the loss's sensitivity to a gate m = 1 on each unit (SNIP, arXiv 1810.02340)."""
    return by_score(problem, criteria.snip(problem.context))
