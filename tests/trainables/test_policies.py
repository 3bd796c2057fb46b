import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.allocation.budget import dense_counts, spend, total
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import Profile
from trainables.models import hub
from trainables.pruning.granularity import Counts, Part, Prunable
from trainables.pruning.layers import Layer
from trainables.pruning.masks import Weights
from trainables.pruning.views import GRANULARITIES, view
from trainables.spec import BudgetKind, GranularityName

torch.set_num_threads(1)

CONVS = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256), (512, 256)] + [(512, 512)] * 5
SIDES = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]
VGG16 = (
    *(Layer(f"c{i}", (*shape, 3, 3), side**2) for i, (shape, side) in enumerate(zip(CONVS, SIDES, strict=True), 1)),
    Layer("fc", (10, 512), 1),
)
ERK = [1, 0.334, 0.246, 0.163, 0.121, 0.081, 0.081, 0.060, 0.040, 0.040, 0.040, 0.040, 0.040, 1]
UNIFORM = [0.05] * 14


@dataclass(frozen=True)
class Shapes:
    """A network of which only the shapes matter, pruned by single weights."""

    layers: tuple[Layer, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(layer.name, layer.size, layer.shape[0], (layer,)) for layer in self.layers)

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        return int(keep.sum() if kind == "params" else keep @ np.array([layer.positions for layer in self.layers]))

    def members(self, read: Any) -> Any:
        raise NotImplementedError

    def remove(self, keep: Any) -> Any:
        raise NotImplementedError


def vgg16() -> Prunable:
    with torch.device("meta"):
        return Weights(hub.build("vgg16", 10, 3), torch.zeros(1, 3, 32, 32))


def linears(*rows: list[list[float]]) -> Prunable:
    """One linear layer, unlike any other, for each matrix of weights."""
    layers = [nn.Linear(len(row[0]), len(row), bias=False) for row in rows]
    for layer, row in zip(layers, rows, strict=True):
        layer.weight.data = torch.tensor(row)
    return Weights(Abreast(layers), torch.zeros(1, 1))


class Abreast(nn.Module):
    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.layers = layers
        self.named = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x.expand(1, layer.in_features)) for layer in self.layers], 1)


@pytest.mark.parametrize("prunable", [Shapes(VGG16), vgg16()], ids=["shapes", "model"])
@pytest.mark.parametrize(("policy", "densities", "macs"), [("erk", ERK, 0.1240), ("uniform", UNIFORM, 0.05)])
def test_vgg16_at_95_percent_has_the_published_densities(
    prunable: Prunable, policy: str, densities: list[float], macs: float
) -> None:
    dense = dense_counts(prunable)
    assert prunable.cost(dense, "params") == 14_715_584
    assert prunable.cost(dense, "macs") == 313_201_664
    keep = np.array(list(allocate(POLICIES[policy], Problem(prunable), 0.95, "params").values()))
    np.testing.assert_allclose(keep / dense, densities, atol=6e-4)
    assert prunable.cost(keep, "macs") / 313_201_664 == pytest.approx(macs, abs=1e-4)
    assert keep.sum() == round(0.05 * 14_715_584)


def test_energy_scores_of_1_2_3_are_their_squares_over_14() -> None:
    path = POLICIES["capacity"].path(Problem(linears([[3.0, 1.0, 2.0]])))
    for below, at, above in ((0, 14 / 9, 1), (1, 14 / 4, 2), (2, 14.0, 3)):
        assert path(at * 0.999).tolist() == [below]
        assert path(at * 1.001).tolist() == [above]


@pytest.mark.parametrize("seed", range(5))
def test_energy_keeps_the_largest_share_of_every_layer_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrices = [random.normal(0, scale, (1, n)) for scale, n in ((1.0, 4), (10.0, 6), (0.1, 3))]
    prunable = linears(*(m.tolist() for m in matrices))
    path = POLICIES["capacity"].path(Problem(prunable))
    shares = [np.sort((m**2 / (m**2).sum()).ravel())[::-1] for m in matrices]
    for budget in range(3, 14):
        choices = itertools.product(*(range(1, len(s) + 1) for s in shares))
        best = max(
            (keep for keep in choices if sum(keep) == budget),
            key=lambda keep: sum(s[:k].sum() for s, k in zip(shares, keep, strict=True)),
        )
        assert tuple(spend(path, prunable, budget, "params")) == best


def test_energy_survives_a_layer_of_zeros() -> None:
    prunable = linears([[0.0, 0.0, 0.0, 0.0]], [[1.0, 2.0]])
    keep = allocate(POLICIES["capacity"], Problem(prunable), 0.5, "params")
    assert list(keep.values()) == [1, 2]


def test_functional_importance_is_the_trapezoid_of_the_damage() -> None:
    prunable = linears([[1.0] * 100], [[1.0] * 100], [[1.0] * 100])
    names = [part.name for part in prunable.parts]
    curves = ((0.8, 0.4, 0.0), (0.8, 0.8, 0.4), (0.8, 0.9, 0.9))  # damage: (0, .5, 1), (0, 0, .5), less than none
    profile = Profile((0.0, 0.25, 1.0), dict(zip(names, curves, strict=True)), dense_accuracy=0.8)
    path = POLICIES["capacity-functional"].path(Problem(prunable, profile=profile))
    # 0.25 * (0 + .5) / 2 + 0.75 * (.5 + 1) / 2 = 0.625 and 0.75 * .5 / 2 = 0.1875
    np.testing.assert_allclose(path(1.0), [100, 100 * 0.1875 / 0.625, 100 * 1e-3 / 0.625])


def test_random_is_the_same_for_a_seed_and_another_for_another() -> None:
    answers = [allocate(POLICIES["random"], Problem(vgg16(), seed=s), 0.8, "params") for s in (0, 0, 1)]
    assert answers[0] == answers[1] != answers[2]
    densities = np.array(list(answers[0].values())) / dense_counts(vgg16())
    assert densities.max() / densities.min() > 2


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_searched_with_equal_densities_is_uniform(kind: BudgetKind) -> None:
    ones = {part.name: 1.0 for part in vgg16().parts}
    searched = allocate(POLICIES["searched"], Problem(vgg16(), densities=ones), 0.9, kind)
    assert searched == allocate(POLICIES["uniform"], Problem(vgg16()), 0.9, kind)


def test_searched_refuses_missing_and_unknown_parts() -> None:
    densities = {part.name: 1.0 for part in vgg16().parts if part.name != "head"} | {"haed": 1.0}
    with pytest.raises(ValueError, match=r"missing are \['head'\] and unknown are \['haed'\]"):
        allocate(POLICIES["searched"], Problem(vgg16(), densities=densities), 0.5, "params")
    with pytest.raises(ValueError, match=r"missing are .*'head'"):
        allocate(POLICIES["searched"], Problem(vgg16()), 0.5, "params")


def dense_networks() -> Iterator[tuple[str, GranularityName, Prunable]]:
    granularities: tuple[GranularityName, ...] = get_args(GranularityName)
    assert set(granularities) == set(GRANULARITIES)
    for granularity in granularities:
        for name in ("small_cnn", "resnet20"):
            torch.manual_seed(0)
            model = hub.build(name, 10, 1, width=0.5)
            yield name, granularity, view(model, granularity, torch.zeros(1, 1, 8, 8))


NETWORKS = [pytest.param(prunable, id=f"{name}-{granularity}") for name, granularity, prunable in dense_networks()]


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize("prunable", NETWORKS)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_spends_the_budget(policy: str, prunable: Prunable, kind: BudgetKind) -> None:
    random = np.random.default_rng(0)
    names, units = [part.name for part in prunable.parts], dense_counts(prunable)
    profile = Profile((0.0, 0.5, 1.0), {name: (0.9, random.uniform(0.2, 0.9), 0.1) for name in names}, 0.9)
    densities = dict(zip(names, random.uniform(0.1, 1.0, len(names)), strict=True))

    def ask(sparsity: float) -> Counts:
        problem = Problem(
            prunable,
            profile=profile if POLICIES[policy].profiled else None,
            densities=densities if policy == "searched" else None,
        )
        keep = allocate(POLICIES[policy], problem, sparsity, kind)
        assert list(keep) == names
        return np.array(list(keep.values()))

    for sparsity in (0.3, 0.7):
        keep, budget = ask(sparsity), total(prunable, sparsity, kind)
        assert (keep > 0).all()
        assert (keep <= units).all()
        assert (keep == ask(sparsity)).all()
        spent = prunable.cost(keep, kind)
        assert spent == budget if isinstance(prunable, Weights) and kind == "params" else spent <= budget
        for p in np.flatnonzero(keep < units):
            more = keep + np.eye(len(keep), dtype=int)[p]
            assert prunable.cost(more, kind) > budget
    assert (ask(0.0) == units).all()
