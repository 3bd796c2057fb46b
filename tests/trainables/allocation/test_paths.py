"""Paths along which budgets are spent: relative densities, and ranked scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.allocation.test_budget import Additive, bounds, make_parts, sizes
from trainables.allocation.budget import proportional, ranked, spend


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(0, 2**32), st.floats(0.0, 1.0), st.sampled_from([1e-200, 1.0, 1e200]))
def test_ranked_path_keeps_the_best_units_of_all(
    shapes: list[tuple[int, int]], seed: int, fraction: float, scale: float
) -> None:
    parts = make_parts(shapes)
    random = np.random.default_rng(seed)
    scores = [random.permutation(p.units * 10)[: p.units] + i / 10 + 0.01 for i, p in enumerate(parts)]  # all differ
    floors, units = bounds(parts)
    budget = int(floors.sum() + fraction * (units.sum() - floors.sum()))
    keep = spend(ranked([np.asarray(s * scale, np.float64) for s in scores]), Additive(parts, floors), budget, "params")
    safe = [set(np.argsort(-s)[: p.floor]) for s, p in zip(scores, parts, strict=True)]
    rest = [(s, p) for p, part in enumerate(scores) for u, s in enumerate(part) if u not in safe[p]]
    best = sorted(rest, reverse=True)[: budget - floors.sum()]
    assert keep.tolist() == [part.floor + sum(p == i for _, p in best) for i, part in enumerate(parts)]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_relative_densities_must_make_sense(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="relative densities must be finite, >= 0 and not all 0"):
        proportional(make_parts([(5, 1), (5, 1)]), np.array(weights))


def test_parts_without_importance_are_filled_last_and_alike() -> None:
    parts = make_parts([(10, 1), (10, 1), (20, 1)])
    path = proportional(parts, np.array([0.0, 1.0, 0.0]))
    prunable = Additive(parts, np.ones(3, int))
    counts = [spend(path, prunable, budget, "params").tolist() for budget in (3, 12, 22, 40)]
    assert counts == [[1, 1, 1], [1, 10, 1], [4, 10, 8], [10, 10, 20]]


def test_equal_scores_are_filled_with_the_dearest_units_first() -> None:
    parts = make_parts([(10, 1), (10, 1)])
    path = ranked([np.zeros(10), np.zeros(10)])
    assert spend(path, Additive(parts, np.array([1, 10])), 34, "macs").tolist() == [4, 3]
