from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from trainables.allocation.budget import Path, proportional, ranked, spend, total
from trainables.models.layers import Layer
from trainables.pruning.granularity import Counts, Part, Prunable
from trainables.pruning.latency_cost import LatencyCost
from trainables.pruning.masks import Weights
from trainables.spec import BudgetKind

KINDS: tuple[BudgetKind, ...] = ("params", "macs")


@dataclass
class Additive:
    """Parts whose units have a fixed price, like single weights."""

    parts: tuple[Part, ...]
    prices: NDArray[np.int64]  # (parts,) multiply-accumulates of a unit

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        return int(keep.sum() if kind == "params" else keep @ self.prices)

    model = nn.Module()
    layers: ClassVar[tuple[Layer, ...]] = ()
    example = torch.empty(1, 1, 1, 1)
    held: ClassVar[dict[str, str]] = {}
    macs_fixed = 0
    latency: LatencyCost | None = None

    def latency_terms(self) -> Any:
        raise NotImplementedError

    def members(self, read: Any) -> Any:
        raise NotImplementedError

    def mask(self, kept_units: Any) -> Any:
        raise NotImplementedError

    def unmask(self) -> None:
        raise NotImplementedError

    def remove(self, kept_units: Any) -> Any:
        raise NotImplementedError


@dataclass
class Chained(Additive):
    """Layers in a row. A unit of a part is an output of its layer and an input of the next layer, like a channel."""

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        weights = np.array([3, *keep]) * np.array([*keep, 10])
        return int(weights.sum() if kind == "params" else weights[:-1] @ self.prices + weights[-1])


@dataclass(frozen=True)
class Case:
    prunable: Prunable
    path: Path
    kind: BudgetKind

    def keep(self, sparsity: float) -> Counts:
        return spend(self.path, self.prunable, total(self.prunable, sparsity, self.kind), self.kind)

    def least_and_dense(self) -> tuple[int, int]:
        floors, units = bounds(self.prunable.parts)
        return self.prunable.cost(floors, self.kind), self.prunable.cost(units, self.kind)


def bounds(parts: tuple[Part, ...]) -> tuple[Counts, Counts]:
    return np.array([p.floor for p in parts]), np.array([p.units for p in parts])


def make_parts(sizes: list[tuple[int, int]]) -> tuple[Part, ...]:
    return tuple(Part(f"p{i}", units, min(floor, units), ()) for i, (units, floor) in enumerate(sizes))


sizes = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 5)), min_size=1, max_size=6)
sparsities = st.floats(0.0, 0.999)


@st.composite
def cases(draw: st.DrawFn, shape: type[Additive] | None = None) -> Case:
    parts = make_parts(draw(sizes))
    prices = np.array(draw(st.lists(st.integers(1, 50), min_size=len(parts), max_size=len(parts))))
    prunable = (shape or draw(st.sampled_from([Additive, Chained])))(parts, prices)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        path = proportional(parts, random.choice([0.0, 0.1, 1.0, 7.0, 1e6], len(parts)) + random.random(len(parts)))
    else:  # scores of few values, so that many are equal, some of them 0
        path = ranked([random.integers(0, 40, p.units) / 39.0 for p in parts])
    return Case(prunable, path, draw(st.sampled_from(KINDS)))


@settings(max_examples=50, deadline=None)
@given(cases(), sparsities)
def test_budget_is_spent_until_nothing_fits(case: Case, sparsity: float) -> None:
    least, dense = case.least_and_dense()
    budget = round((1.0 - sparsity) * dense)
    if budget < least:
        return
    keep = case.keep(sparsity)
    floors, units = bounds(case.prunable.parts)
    assert (floors <= keep).all()
    assert (keep <= units).all()
    assert case.prunable.cost(keep, case.kind) <= budget
    for p in np.flatnonzero(keep < units):
        more = keep.copy()
        more[p] += 1
        assert case.prunable.cost(more, case.kind) > budget


@settings(max_examples=50, deadline=None)
@given(cases(), sparsities, st.lists(st.integers(1, 70), min_size=6, max_size=6))
def test_units_that_stay_in_multiples_are_spent_until_no_block_fits(
    case: Case, sparsity: float, multiples: list[int]
) -> None:
    parts = tuple(
        replace(p, multiple=m, floor=min(p.units, m)) for p, m in zip(case.prunable.parts, multiples, strict=False)
    )
    rounded = replace(case, prunable=replace(case.prunable, parts=parts))  # type: ignore[type-var]
    least, dense = rounded.least_and_dense()
    budget = round((1.0 - sparsity) * dense)
    if budget < least:
        return
    keep = rounded.keep(sparsity)
    assert rounded.prunable.cost(keep, case.kind) <= budget
    for p, part in enumerate(parts):
        assert part.floor <= keep[p] <= part.units
        assert keep[p] % part.multiple == 0 or keep[p] == part.units
        if keep[p] < part.units:
            more = keep.copy()
            more[p] = min(part.units, more[p] + part.multiple)
            assert rounded.prunable.cost(more, case.kind) > budget


@settings(max_examples=50, deadline=None)
@given(cases(Additive), sparsities)
def test_budget_of_single_weights_is_met_exactly(case: Case, sparsity: float) -> None:
    least, dense = Case(case.prunable, case.path, "params").least_and_dense()
    budget = round((1.0 - sparsity) * dense)
    if budget >= least:
        assert spend(case.path, case.prunable, budget, "params").sum() == budget


@settings(max_examples=50, deadline=None)
@given(cases())
def test_sparsity_zero_keeps_all(case: Case) -> None:
    assert (case.keep(0.0) == bounds(case.prunable.parts)[1]).all()


@settings(max_examples=50, deadline=None)
@given(cases(), sparsities, sparsities)
def test_lower_sparsity_keeps_at_least_as_much(case: Case, one: float, other: float) -> None:
    least, dense = case.least_and_dense()
    low, high = sorted((one, other))
    if round((1.0 - high) * dense) < least:
        return
    at_low, at_high = case.keep(low), case.keep(high)
    assert total(case.prunable, low, case.kind) >= total(case.prunable, high, case.kind)
    exact = case.kind == "params" and not isinstance(case.prunable, Chained)
    spare = 0 if exact else dearest(case)
    assert case.prunable.cost(at_low, case.kind) >= case.prunable.cost(at_high, case.kind) - spare


def dearest(case: Case) -> int:
    """Return the cost of the dearest unit, which may just not fit."""
    units = bounds(case.prunable.parts)[1]
    cut = [np.where(np.arange(len(units)) == p, units - 1, units) for p in range(len(units))]
    return max(case.prunable.cost(units, case.kind) - case.prunable.cost(less, case.kind) for less in cut)


@settings(max_examples=50, deadline=None)
@given(sizes, st.integers(0, 2**32), sparsities, st.sampled_from(KINDS))
def test_order_of_the_parts_does_not_matter(
    shapes: list[tuple[int, int]], seed: int, sparsity: float, kind: BudgetKind
) -> None:
    random = np.random.default_rng(seed)
    parts = make_parts(shapes)
    weights = random.uniform(0.1, 1.0, len(parts))
    prices = random.permutation(np.arange(1, len(parts) + 1))  # all differ: no ties

    def answer(order: NDArray[np.int64]) -> Counts:
        chosen = tuple(parts[p] for p in order)
        prunable = Additive(chosen, prices[order])
        return spend(proportional(chosen, weights[order]), prunable, total(prunable, sparsity, kind), kind)

    order = random.permutation(len(parts))
    floors, units = bounds(parts)
    stub = Additive(parts, prices)
    if round((1.0 - sparsity) * stub.cost(units, kind)) >= stub.cost(floors, kind):
        assert (answer(order) == answer(np.arange(len(parts)))[order]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("units", "floor"), [((10, 10), 1), ((3, 300), 3), ((7, 1000003), 2), ((1, 1), 1)])
def test_refusal_names_what_is_reachable(kind: BudgetKind, units: tuple[int, int], floor: int) -> None:
    prunable = Additive(make_parts([(n, floor) for n in units]), np.array([1, 17]))
    least, dense = Case(prunable, lambda s: np.zeros(2), kind).least_and_dense()
    with pytest.raises(ValueError, match=f"at least {least:,} of {dense:,} {kind}") as refusal:
        total(prunable, 0.9999999, kind)
    named = float(str(refusal.value).rpartition("at most ")[2])
    assert total(prunable, named, kind) >= least
    assert named > 1.0 - least / dense - 2e-4


def test_a_refusal_of_macs_says_what_products_without_weights_take() -> None:
    model = nn.Sequential(nn.MultiheadAttention(4, 2, batch_first=True))
    model.forward = lambda x: model[0](x, x, x)[0]  # type: ignore[method-assign]
    prunable = Weights(model, torch.zeros(1, 6, 4))
    least, dense = 4 * 4 * 6 + 2 * 6 * 6 * 4, 4 * 16 * 6 + 2 * 6 * 6 * 4
    with pytest.raises(
        ValueError, match=f"at least {least} of {dense} macs.*; products without weights.* take 288 macs"
    ):
        total(prunable, 0.9, "macs")
    assert total(prunable, 0.25, "macs") == dense * 3 // 4


def test_what_must_stay_stays_and_counts() -> None:
    parts = make_parts([(10, 1), (10, 1), (20, 1)])
    prunable, least = Additive(parts, np.ones(3, int)), np.array([10, 1, 4])
    path = proportional(parts, np.ones(3))
    counts = [spend(path, prunable, budget, "params", least).tolist() for budget in (15, 17, 25, 40)]
    assert counts == [[10, 1, 4], [10, 2, 5], [10, 5, 10], [10, 10, 20]]
    with pytest.raises(ValueError, match="at least 15 of 40 params"):
        total(prunable, 0.65, "params", least)
    assert total(prunable, 0.625, "params", least) == 15
