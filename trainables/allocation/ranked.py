"""Policies that rank all units of the network together and let one threshold decide what each part keeps.

Only how many units of each part are above the threshold matters here; which ones stay is up to the criterion.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.allocation.budget import Path, ranked
from trainables.allocation.problem import Problem
from trainables.models.layers import weight_of
from trainables.pruning import criteria
from trainables.pruning.criteria import Scores

TINY = torch.finfo(torch.float64).tiny  # in place of the 0 that a sum over zeros is


def by_score(problem: Problem, scores: Scores) -> Path:
    """Rank units by their scores, which are finite and >= 0."""
    return ranked([scores[part.name].double().cpu().numpy() for part in problem.prunable.parts])


def own_scores(problem: Problem) -> Path:
    """One threshold for all parts on the scores of the criterion that picks the units."""
    return by_score(problem, problem.scores)


def gates(problem: Problem) -> Path:
    """One threshold on the values of trained gates (arXiv 1904.10921), so that the open ones stay first."""
    return by_score(problem, criteria.gates(problem.context))


def gates_joint(problem: Problem) -> Path:
    """As gates, all the way: the channels of best gates, with the weights trained along, in place of as many epochs."""
    return gates(problem)


def squared_norms(problem: Problem) -> dict[str, Tensor]:
    """Squared Euclidean norms of the units' weights: part name -> (units,) in float64."""
    return {name: unit.double().square().sum(1) for name, unit in problem.prunable.members(weight_of).items()}


def global_magnitude(problem: Problem) -> Path:
    """One threshold on |w| for all parts; on the root mean square of its weights for a channel (our reading)."""
    units = problem.prunable.members(weight_of)
    return by_score(problem, {name: unit.double().square().mean(1).sqrt() for name, unit in units.items()})


def lamp(problem: Problem) -> Path:
    """One threshold on LAMP scores: a unit's squared norm over that of all units of its part that are not smaller.

    Lee et al. (arXiv 2010.07611) score single weights; channels by their norms are our reading.
    """
    squares = squared_norms(problem)
    return ranked([lamp_scores(squares[part.name].cpu().numpy()) for part in problem.prunable.parts])


def lamp_scores(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each square by the sum of all that are not smaller, itself included; squares: (units,).

    Returns (units,) scores in rising order.
    """
    rising = np.sort(squares)
    sums = rising[::-1].cumsum()[::-1]  # from each one on
    first = np.flatnonzero(np.diff(rising, prepend=-1.0))  # of those that are equal
    of_equals = np.repeat(sums[first], np.diff(first, append=len(rising)))
    return np.asarray(rising / np.maximum(of_equals, TINY))


def snip(problem: Problem) -> Path:
    """One threshold on |dL/dm|, the loss's sensitivity to a gate m = 1 on each unit (SNIP, arXiv 1810.02340)."""
    return by_score(problem, criteria.snip(problem.context))
