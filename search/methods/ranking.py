"""How points of several goals rank: by NSGA-II's non-dominated sorting, ties by crowding distance.

Source: Deb et al., IEEE TEVC 6(2), 2002, sections III-A and III-B. Everywhere, points have the shape (points, goals),
and a higher value is better.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, ...]  # a value for each goal; higher is better
Floats = NDArray[np.float64]


def non_dominated_ranks(points: Floats) -> NDArray[np.int64]:
    """Rank points from 0: a point that no other dominates has rank 0; without these, the next ones have rank 1; ...

    A point dominates another if no goal is worse and one is better. Returns (points,).
    """
    least: NDArray[np.bool_] = np.all(points[:, None] >= points[None], axis=-1)
    dominates = least & ~least.T  # (points, points): the first one dominates the second
    ranks = np.full(len(points), -1)
    rank = 0
    while (left := ranks < 0).any():
        ranks[left & ~dominates[left].any(axis=0)] = rank
        rank += 1
    return ranks


def crowding_distances(points: Floats) -> Floats:
    """Compute how far the neighbours of each point are apart, for points of one rank.

    For each goal, the distance from the next lower to the next higher point counts, divided by the range of the goal;
    the distances of all goals add up. The ends of a goal's range have an infinite distance. A goal without a finite
    range adds nothing. Points that are equal in one goal lie there in the order of the others. Returns (points,).
    """
    distances = np.zeros(len(points))
    for goal in range(points.shape[1]):
        order = np.lexsort(np.roll(points, -goal - 1, axis=1).T)  # by this goal; lexsort's last key is its first
        values = points[order, goal]
        distances[order[[0, -1]]] = np.inf
        if -np.inf < values[0] < values[-1] < np.inf:
            distances[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return distances


def ahead(point: Point, others: Sequence[Point]) -> int:
    """Count the others that rank better than a point: by their rank, or, at its rank, by more distant neighbours."""
    points = np.array([*others, point])
    ranks = non_dominated_ranks(points)
    alike = ranks == ranks[-1]
    distances = crowding_distances(points[alike])
    return int((ranks < ranks[-1]).sum() + (distances > distances[-1]).sum())
