import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.problems import linears, problem, profile, quotas
from trainables.allocation.budget import dense_counts
from trainables.allocation.from_profiles import cheapest
from trainables.allocation.profiles import Profile, levels_of, units_at
from trainables.pruning.masks import Weights
from trainables.spec import BudgetKind


def ones(*sizes: int) -> Weights:
    return linears(*(np.ones((1, size)) for size in sizes))


def test_sensitivity_equalises_what_the_parts_lose() -> None:
    prunable = ones(1000, 3000)
    losses = profile((0.0, 1.0), [(0.0, 1.0), (0.0, 2.0)], prunable)
    keep = quotas("sensitivity", problem(prunable, 0.5, profile=losses))  # both lose 0.8, at sparsities 0.8 and 0.4
    np.testing.assert_allclose(keep, [200, 1800], atol=1)


def test_sensitivity_takes_the_end_of_a_plateau() -> None:
    prunable = ones(1000, 1000)
    flat, steep = (
        (0.0, 0.2, 0.2, 0.8),
        (0.0, 0.4, 0.4, 0.8),
    )  # they lose 0.2 of accuracy at sparsities 0.25 to 0.75, and at 0.125
    losses = profile((0.0, 0.25, 0.75, 1.0), [flat, steep], prunable)
    keep = quotas("sensitivity", problem(prunable, (0.75 + 0.125) / 2, profile=losses))
    np.testing.assert_allclose(keep, [250, 875], atol=1)
    within = quotas(
        "sensitivity", problem(prunable, (0.5 + 0.125) / 2, profile=losses)
    )  # the budget ends within the plateau
    np.testing.assert_allclose(within, [500, 875], atol=1)


def test_sensitivity_never_takes_a_loss_for_a_gain() -> None:
    prunable = ones(1000, 1000)
    levels = (0.0, 0.5, 0.75, 1.0)
    noisy, risen = (0.0, 0.4, -0.1, 0.8), (0.0, 0.4, 0.4, 0.8)
    linear = (0.0, 0.4, 0.6, 0.8)
    answers = [
        quotas("sensitivity", problem(prunable, 0.6, profile=profile(levels, [curve, linear], prunable))).tolist()
        for curve in (noisy, risen)
    ]
    assert answers[0] == answers[1]


def test_sensitivity_reads_the_counts_that_were_measured() -> None:
    """Of 8 weights, levels 0.07 to 0.18 keep 7. This count is the answer, not the level at which it ends."""
    prunable, levels = ones(8, 8), levels_of(101)
    kept = [units_at(prunable.parts[0], level) for level in levels]
    gentle, steep = ([{8: 0.0, 7: loss}.get(units, 0.5) for units in kept] for loss in (0.1, 0.5))
    keep = quotas("sensitivity", problem(prunable, 1 / 16, profile=profile(levels, [gentle, steep], prunable)))
    assert keep.tolist() == [7, 8]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_dynamic_programme_is_as_good_as_trying_everything(seed: int) -> None:
    random = np.random.default_rng(seed)
    distortions = random.integers(0, 30, (3, 5)) / 1.0
    costs = random.integers(0, 12, (3, 5))
    least, dearest = int(costs.min(1).sum()), int(costs.max(1).sum())
    most = int(random.integers(least, dearest + 2))
    answers = cheapest(distortions, costs, most)
    assert answers.shape == (3, most - least + 1)
    for budget, levels in enumerate(answers.T, start=least):
        everything = itertools.product(range(5), repeat=3)
        affordable = [choice for choice in everything if sum(costs[range(3), choice]) <= budget]
        assert costs[range(3), levels].sum() <= budget
        assert distortions[range(3), levels].sum() == min(sum(distortions[range(3), choice]) for choice in affordable)


@pytest.mark.parametrize(
    ("sparsity", "levels"), [(0.3, [4, 0, 5]), (0.5, [5, 4, 6]), (0.6, [5, 7, 6])]
)  # the best ones, and what the public code answers
def test_rdp_chooses_the_levels_that_the_public_code_chooses(sparsity: float, levels: list[int]) -> None:
    prunable, grid = ones(100, 110, 120), np.arange(11)
    known = profile(grid / 10, [grid**2, 10 * grid, grid**3 / 10], prunable)
    keep = quotas("rdp", problem(prunable, sparsity, profile=known))
    np.testing.assert_allclose(keep, (1 - np.array(levels) / 10) * [100, 110, 120], atol=1)  # 0 or 1 weights are left


def test_rdp_keeps_budgets_that_the_public_code_exceeds() -> None:
    """The public code gives the smallest layer the level nearest to what is left, even if it costs more: 169 of 165."""
    prunable, grid = ones(100, 110, 120), np.arange(11)
    known = profile(grid / 10, [grid**2, 2 * grid**2, 3 * grid**2], prunable)
    keep = quotas("rdp", problem(prunable, 0.5, profile=known))
    np.testing.assert_allclose(keep, [10, 66, 84], atol=5)  # levels 9, 4, 3: distortion 140; the public code: 126
    assert keep.sum() == 165


@pytest.mark.parametrize("policy", ["rdp", "rdp-worst"])
@pytest.mark.parametrize(("kind", "prices"), [("params", [1, 1, 1]), ("macs", [1, 9, 3])])
@pytest.mark.parametrize("seed", range(3))
def test_rdp_distorts_as_little_as_trying_everything(
    policy: str, kind: BudgetKind, prices: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    prunable, grid = ones(100, 100, 100), np.linspace(0.0, 1.0, 101)
    prunable._positions = np.array(prices)
    curves = np.cumsum(random.exponential(1.0, (3, 101)) * (random.random((3, 101)) < 0.3), axis=1)
    curves -= curves[:, :1]
    damage = {part.name: tuple(curve) for part, curve in zip(prunable.parts, curves, strict=True)}
    blank = dict.fromkeys(damage, (0.0,) * 101)
    known = Profile(tuple(grid), 0.9, blank, blank, *((damage, blank) if policy == "rdp" else (blank, damage)))
    gone = np.stack(np.meshgrid(*[np.arange(100)] * 3, indexing="ij"))  # each part keeps at least one unit
    sums = sum(curve[units] for curve, units in zip(curves, gone, strict=True))
    saved = np.tensordot(prices, gone, 1)
    for sparsity in (0.2, 0.5, 0.8):
        keep = quotas(policy, problem(prunable, sparsity, kind, profile=known))
        assert curves[range(3), 100 - keep].sum() <= sums[saved >= sparsity * 100 * sum(prices)].min() + 1e-9


@pytest.mark.parametrize("sparsity", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("seed", range(3))
def test_small_parts_are_as_well_off_as_with_a_bin_for_each_weight(sparsity: float, seed: int) -> None:
    """A level of a small part costs less than a bin of the whole network would."""
    random, sizes = np.random.default_rng(seed), np.array([144, 4608, 18432, 36864, 8192, 640])
    prunable, grid = ones(*sizes), np.linspace(0.0, 1.0, 101)
    curves = np.cumsum(random.exponential(1.0, (6, 101)) * grid ** random.uniform(0, 4, (6, 1)), axis=1)
    curves -= curves[:, :1]
    counts = np.maximum(1, np.rint((1 - grid) * sizes[:, None])).astype(int)
    budget = round((1 - sparsity) * sizes.sum())
    exact = cheapest(curves, counts, budget)[:, -1]
    keep = quotas("rdp", problem(prunable, sparsity, profile=profile(grid, curves, prunable)))
    got = sum(np.interp(-n, -of_part, curve) for n, of_part, curve in zip(keep, counts, curves, strict=True))
    assert got <= curves[range(6), exact].sum() + 1e-9


@pytest.mark.parametrize("sparsity", [0.99, 0.999])
def test_rdp_spends_budgets_of_a_few_bins(sparsity: float) -> None:
    prunable = ones(1_000_000, 10_000, 300_000)
    levels = np.linspace(0, 1, 11)
    known = profile(levels, [levels**2, 0.5 * levels**3, levels**4], prunable)
    keep = quotas("rdp", problem(prunable, sparsity, profile=known))
    assert keep.sum() == round((1 - sparsity) * dense_counts(prunable).sum())
    assert keep.min() >= 1
