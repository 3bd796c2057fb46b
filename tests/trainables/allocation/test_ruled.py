"""What every policy must do where rules bind some parts."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.allocation.test_budget import Case, cases, sparsities
from tests.trainables.allocation.test_policies import MONOTONE, NETWORKS, PAIRS, SAMPLES, known_to
from tests.trainables.problems import linears, problem, quotas, random_profile
from trainables.allocation import capacity, random_draws, synflow
from trainables.allocation.budget import ceilings, dense_counts, floors, total
from trainables.allocation.plan import quotas as quotas_of
from trainables.allocation.policies import POLICIES
from trainables.pruning.context import PruningContext
from trainables.pruning.granularity import Counts, Part
from trainables.pruning.masks import Weights
from trainables.pruning.rules import bounded
from trainables.pruning_spec import LayerRule, Schedule
from trainables.recipe import Recipe
from trainables.spec import BudgetKind, TrialSpec

SHARES = ((1.0, 1.0), (0.5, 0.5), (0.3, 0.8), (0.0, 1.0))


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synflow, "ROUNDS", 3)
    monkeypatch.setattr(capacity, "EXCHANGES", 3)
    monkeypatch.setattr(random_draws, "DRAWS", 3)


def rule(name: str, low: float, high: float) -> LayerRule:
    if low == high:
        return LayerRule(match=name, density=low)
    return LayerRule(match=name, at_least=low, at_most=high)


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize(("policy", "network"), PAIRS)
def test_every_policy_spends_the_rest_among_the_other_parts(policy: str, network: str, kind: BudgetKind) -> None:
    _, free = NETWORKS[network]
    shares = [SHARES[n % 4] for n in range(len(free.parts))]
    rules = [rule(part.name, *share) for part, share in zip(free.parts, shares, strict=True)]
    prunable = bounded(free, rules)
    least, most = POLICIES[policy].least(prunable), ceilings(prunable)
    dense, low, high = (prunable.cost(keep, kind) for keep in (dense_counts(free), least, most))
    sparsity = 1.0 - (low + high) / 2 / dense
    asked = known_to(policy, prunable, SAMPLES, sparsity, kind)
    keep = quotas(policy, asked)
    for part, kept, (smallest, largest) in zip(free.parts, keep, shares, strict=True):
        assert smallest * part.units - 1 < kept
        assert kept < largest * part.units + 1 or kept == part.floor
    assert ((least <= keep) & (keep <= most)).all()
    budget, spent = total(prunable, sparsity, kind), prunable.cost(keep, kind)
    assert spent == budget if isinstance(prunable, Weights) and kind == "params" else spent <= budget
    for p in np.flatnonzero(keep < most):
        assert prunable.cost(keep + np.eye(len(keep), dtype=int)[p], kind) > budget
    assert (keep == quotas(policy, asked)).all()


@pytest.mark.parametrize(("policy", "network"), [pair for pair in PAIRS if not pair[1].startswith("awkward")])
def test_every_policy_takes_the_only_allocation_that_rules_leave(policy: str, network: str) -> None:
    _, free = NETWORKS[network]
    prunable = bounded(free, [LayerRule(match="*", density=0.5)])
    only = ceilings(prunable)
    sparsity = 1.0 - prunable.cost(only, "params") / prunable.cost(dense_counts(free), "params")
    assert (quotas(policy, known_to(policy, prunable, SAMPLES, sparsity, "params")) == only).all()


@pytest.mark.parametrize("policy", ["capacity", "random-best"])
@pytest.mark.parametrize("network", ["small_cnn-weight", "resnet20-channel", "resnet20-block"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_policies_that_measure_compensated_networks_keep_rules(policy: str, network: str, share: float) -> None:
    _, free = NETWORKS[network]
    rules = [LayerRule(match=part.name, density=share) for part in free.parts[: len(free.parts) // 2]]
    prunable = bounded(free, rules if share == 1.0 else [LayerRule(match="*", density=0.5)])
    ends = [prunable.cost(bound(prunable), "params") for bound in (floors, ceilings)]
    sparsity = 1.0 - sum(ends) / 2 / prunable.cost(dense_counts(free), "params")
    asked = known_to(policy, prunable, SAMPLES, sparsity, "params")
    keep = quotas(policy, replace(asked, compensated=True, recalibrated=True, training=Recipe(epochs=1, lr=0.01)))
    assert ((floors(prunable) <= keep) & (keep <= ceilings(prunable))).all()


@pytest.mark.parametrize("policy", MONOTONE)
def test_a_part_keeps_no_less_of_a_larger_budget_within_its_bounds(policy: str) -> None:
    _, free = NETWORKS["small_cnn-weight"]
    names = [part.name for part in free.parts]
    rules = [LayerRule(match=names[0], keep=1.0), LayerRule(match=names[2], density=0.4)]
    prunable = bounded(free, [*rules, LayerRule(match=names[3], at_least=0.2, at_most=0.6)])
    problems = [known_to(policy, prunable, SAMPLES, sparsity, "params") for sparsity in (0.4, 0.5, 0.6, 0.7)]
    kept = np.stack([quotas(policy, asked) for asked in problems])
    assert (np.diff(kept, axis=0) <= 1).all()  # the last units of the budget may go to another part


@st.composite
def bound_cases(draw: st.DrawFn) -> Case:
    case = draw(cases())
    parts = []
    for part in case.prunable.parts:
        ends = st.integers(part.floor, part.units)
        bounds = draw(st.none() | st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))))
        parts.append(replace(part, bounds=bounds))
    return replace(case, prunable=replace(case.prunable, parts=tuple(parts)))  # type: ignore[type-var]


@settings(max_examples=100, deadline=None)
@given(bound_cases(), sparsities, sparsities)
def test_bounds_hold_and_the_budget_is_spent(case: Case, one: float, other: float) -> None:
    prunable, kind, answers = case.prunable, case.kind, []
    least, most = floors(prunable), ceilings(prunable)
    dense = prunable.cost(np.array([part.units for part in prunable.parts]), kind)
    for sparsity in sorted((one, other)):
        budget = round((1.0 - sparsity) * dense)
        if not prunable.cost(least, kind) <= budget <= prunable.cost(most, kind):
            with pytest.raises(ValueError, match="budget must leave"):
                case.keep(sparsity)
            continue
        keep = case.keep(sparsity)
        assert ((least <= keep) & (keep <= most)).all()
        assert prunable.cost(keep, kind) <= budget
        for p in np.flatnonzero(keep < most):
            assert prunable.cost(keep + np.eye(len(keep), dtype=int)[p], kind) > budget
        answers.append(keep)
    if kind == "params" and type(prunable).__name__ == "Additive" and len(answers) == 2:
        assert answers[0].sum() >= answers[1].sum()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 5), st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=3),
    st.integers(0, 9),
    st.floats(0.05, 0.95),
)
def test_rdp_finds_the_best_allocation_within_the_bounds(
    shapes: list[tuple[int, int, int]], seed: int, share: float
) -> None:
    """Brute force: where all counts are measured, no allowed allocation of this budget has a smaller distortion."""
    free = linears(*(np.ones((1, units)) for units, _, _ in shapes))
    parts = tuple(_bound(part, *ends) for part, (_, *ends) in zip(free.parts, shapes, strict=True))
    prunable = bounded(free, [])
    prunable.parts = parts
    levels = tuple(level / 60 for level in range(61))  # holds each share of 2, 3, 4 and 5 units
    random = np.random.default_rng(seed)
    by_units = {part.name: np.sort(random.random(part.units + 1))[::-1] for part in parts}
    curves = {
        part.name: tuple(by_units[part.name][max(1, round((1 - at) * part.units))] for at in levels) for part in parts
    }
    known = replace(random_profile(prunable), levels=levels, distortion=curves)
    low, high = floors(prunable).sum(), ceilings(prunable).sum()
    budget = round(low + share * (high - low))
    sparsity = 1.0 - budget / sum(part.units for part in parts)
    keep = quotas("rdp", problem(prunable, sparsity, profile=known))

    def distortion(counts: Counts) -> float:
        return float(sum(by_units[part.name][n] for part, n in zip(parts, counts, strict=True)))

    allowed = product(*(range(part.least, part.most + 1) for part in parts))
    best = min(distortion(np.array(counts)) for counts in allowed if sum(counts) == budget)
    assert keep.sum() == budget
    assert distortion(keep) == pytest.approx(best)


def _bound(part: Part, one: int, other: int) -> Part:
    low, high = sorted(max(1, min(part.units, end)) for end in (one, other))
    return replace(part, bounds=(low, high))


def test_uniform_gives_the_free_parts_one_density() -> None:
    free = linears(np.ones((1, 100)), np.ones((1, 200)), np.ones((1, 300)), np.ones((1, 400)))
    rules = [LayerRule(match="layers.0", keep=1.0), LayerRule(match="layers.1", density=0.25)]
    keep = quotas("uniform", problem(bounded(free, rules), 0.5))
    assert keep.tolist() == [100, 50, 150, 200]  # (500 - 150) / 700 of the others


def test_erk_shares_what_the_rules_leave_by_its_own_ratios() -> None:
    free = linears(np.ones((10, 20)), np.ones((20, 20)), np.ones((40, 20)))
    rules = [LayerRule(match="layers.2", at_most=0.2)]
    keep = quotas("erk", problem(bounded(free, rules), 0.6))
    assert keep[2] <= 160  # 0.2 of 800
    ratio = (30 / 200) / (40 / 400)  # of the densities of the first two layers, unless one is dense
    assert keep[0] / 200 == pytest.approx(min(1.0, ratio * keep[1] / 400), abs=0.02)


def test_budgets_that_rules_leave_out_are_refused_with_those_that_they_leave() -> None:
    free = linears(np.ones((1, 100)), np.ones((1, 100)))
    prunable = bounded(free, [LayerRule(match="layers.0", keep=1.0), LayerRule(match="layers.1", at_most=0.5)])
    with pytest.raises(ValueError, match="budget must leave") as error:
        total(prunable, 0.9, "params")
    assert str(error.value) == (
        "budget must leave 101 to 150 of 200 params, but sparsity 0.9 leaves 20; use a sparsity of 0.2476 to 0.4974, "
        "or change the rules in layers; not pruned: layers.0 (a rule keeps it dense)"
    )
    with pytest.raises(ValueError, match=r"budget must leave 101 to 150 of 200 params, but sparsity 0.1 leaves 180"):
        total(prunable, 0.1, "params")
    for sparsity in (0.2476, 0.4974):
        assert 101 <= total(prunable, sparsity, "params") <= 150


def test_the_only_budget_of_parts_that_are_all_fixed_is_named_exactly() -> None:
    free = linears(np.ones((1, 333_331)), np.ones((1, 999_983)))
    prunable = bounded(free, [LayerRule(match="*", density=0.37)])
    with pytest.raises(ValueError, match="use a sparsity of") as error:
        total(prunable, 0.5, "params")
    for text in str(error.value).partition("sparsity of ")[2].partition(",")[0].split(" to "):
        assert total(prunable, float(text), "params") == floors(prunable).sum()


@pytest.mark.parametrize("name", ["gradual", "iterative"])
def test_shares_of_rules_fall_along_a_schedule(name: str) -> None:
    free = linears(np.ones((1, 1000)), np.ones((1, 1000)), np.ones((1, 1000)))
    rules = (LayerRule(match="layers.0", keep=1.0), LayerRule(match="layers.1", density=0.1))
    spec = TrialSpec(sparsity=0.5, schedule=Schedule(name=name, steps=4), layers=rules)
    steps = quotas_of(spec, PruningContext(bounded(free, rules)), {})
    kept = np.array([list(step.values()) for step in steps])
    assert (kept[:, 0] == 1000).all()
    assert (np.diff(kept, axis=0) <= 0).all()
    assert kept[-1].tolist() == [1000, 100, 400]
    fractions = [0.1 ** (step / 4) for step in (1, 2, 3)]
    cubes = [1.0 - 0.9 * (1.0 - (1.0 - step / 4) ** 3) for step in (1, 2, 3)]
    np.testing.assert_allclose(kept[:3, 1] / 1000, cubes if name == "gradual" else fractions, atol=1e-3)
    if name == "gradual":
        budgets = [round(3000 * (1.0 - 0.5 * (1.0 - (1.0 - step / 4) ** 3))) for step in (1, 2, 3)]
        assert kept[:3].sum(1).tolist() == budgets


def test_a_step_comes_as_close_to_its_sparsity_as_the_rules_allow() -> None:
    free = linears(np.ones((1, 1000)), np.ones((1, 1000)))
    rules = (LayerRule(match="layers.0", density=0.9), LayerRule(match="layers.1", density=0.1))
    spec = TrialSpec(sparsity=0.5, schedule=Schedule(name="iterative", steps=2), layers=rules)
    first, last = quotas_of(spec, PruningContext(bounded(free, rules)), {})
    assert list(last.values()) == [900, 100]
    assert list(first.values()) == [round(1000 * 0.9**0.5), round(1000 * 0.1**0.5)]  # sparsity 0.5 ** 0.5 asks for more


def test_a_rule_that_allows_everything_changes_nothing() -> None:
    """Bounds from the floor to all units are what a part without a rule has."""
    _, free = NETWORKS["resnet20-channel"]
    loose = bounded(free, [LayerRule(match="*", at_least=0.0)])
    for policy in ("uniform", "erk", "lamp", "igq"):
        asked = [known_to(policy, prunable, SAMPLES, 0.6, "params") for prunable in (free, loose)]
        assert (quotas(policy, asked[0]) == quotas(policy, asked[1])).all()
