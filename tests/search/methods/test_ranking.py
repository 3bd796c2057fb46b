"""Ranks of several goals, against their definition and against Optuna's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from optuna.study._multi_objective import _fast_non_domination_rank

from search.methods.ranking import Floats, ahead, crowding_distances, non_dominated_ranks
from tests.benchmarks.goal_rungs import hypervolume

COARSE = st.integers(0, 4).map(float)  # so that many points are equal in a goal
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 4))
POINTS = SHAPES.flatmap(lambda shape: arrays(np.float64, shape, elements=COARSE))


def dominates(one: Floats, other: Floats) -> bool:
    return bool((one >= other).all() and (one > other).any())


@given(POINTS)
def test_ranks_are_those_of_the_definition(points: Floats) -> None:
    """Take away the points that no other one dominates, again and again."""
    left, rank = list(range(len(points))), 0
    expected: dict[int, int] = {}
    while left:
        front = [n for n in left if not any(dominates(points[m], points[n]) for m in left)]
        expected |= dict.fromkeys(front, rank)
        left, rank = [n for n in left if n not in front], rank + 1
    assert non_dominated_ranks(points).tolist() == [expected[n] for n in range(len(points))]
    assert non_dominated_ranks(points).tolist() == _fast_non_domination_rank(-points).tolist()


def test_crowding_distances_worked_by_hand() -> None:
    points = np.array([[0.0, 10.0], [1.0, 8.0], [2.0, 4.0], [4.0, 0.0]])
    assert crowding_distances(points).tolist() == [np.inf, 2 / 4 + 6 / 10, 3 / 4 + 8 / 10, np.inf]
    assert crowding_distances(points[:2]).tolist() == [np.inf, np.inf]
    assert crowding_distances(points[:1]).tolist() == [np.inf]


def test_a_goal_that_all_points_share_has_its_ends_and_no_range() -> None:
    """The third goal is equal everywhere: its ends are those of the first one, and nothing is added."""
    points = np.array([[0.0, 10.0, 3.0], [1.0, 8.0, 3.0], [2.0, 4.0, 3.0], [4.0, 0.0, 3.0]])
    assert crowding_distances(points).tolist() == crowding_distances(points[:, :2]).tolist()


@given(st.permutations(range(8)), st.integers(0, 2**32 - 1))
def test_the_order_of_points_does_not_count(order: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    points = np.unique(random.integers(0, 4, (30, 3)).astype(float), axis=0)[:8]
    points = points[: len(order)]
    order = [n for n in order if n < len(points)]
    assert crowding_distances(points)[order] == pytest.approx(crowding_distances(points[order]))
    assert non_dominated_ranks(points)[order].tolist() == non_dominated_ranks(points[order]).tolist()


@given(st.lists(COARSE, min_size=1, max_size=9))
def test_with_one_goal_a_point_is_behind_those_of_higher_value(values: list[float]) -> None:
    *others, point = values
    assert ahead((point,), [(value,) for value in others]) == sum(value > point for value in others)


def test_an_infinite_value_ranks_and_breaks_nothing() -> None:
    assert ahead((-np.inf, 0.5), [(0.5, 0.5), (0.4, 0.6)]) == 2
    assert ahead((0.5, 0.5), [(-np.inf, 0.6), (0.4, 0.7)]) == 0


@given(SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4))))
def test_the_benchmarks_hypervolume_is_that_of_counted_cubes(points: NDArray[np.int64]) -> None:
    cubes = np.stack(np.meshgrid(*[np.arange(4)] * points.shape[1], indexing="ij"), axis=-1)  # lower corners
    inside = (cubes[..., None, :] < points).all(axis=-1).any(axis=-1)
    assert hypervolume(points.astype(float)) == inside.sum()
