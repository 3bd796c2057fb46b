import numpy as np
import pytest

from tests.trainables.problems import linears, problem, quotas, vgg16
from trainables.allocation.budget import dense_counts
from trainables.allocation.from_shapes import igq
from trainables.spec import BudgetKind

VGG16_AT_95_PERCENT = {  # densities of the 13 convolutions and the linear layer; multiply-accumulates kept
    "igq": ([0.977, 0.667, 0.501, 0.334, 0.200, 0.111, 0.111, 0.059, *[0.030] * 5, 0.935], 0.2089),
    "erk": ([1, 0.334, 0.246, 0.163, 0.121, 0.081, 0.081, 0.060, *[0.040] * 5, 1], 0.1240),
    "uniform-plus": ([1, *[0.0498] * 12, 0.2], 0.0552),
    "uniform": ([0.05] * 14, 0.0500),
}


@pytest.mark.parametrize("policy", VGG16_AT_95_PERCENT)
def test_vgg16_at_95_percent_has_the_published_densities(policy: str) -> None:
    densities, macs = VGG16_AT_95_PERCENT[policy]
    prunable = vgg16()
    dense = dense_counts(prunable)
    assert prunable.cost(dense, "params") == 14_715_584
    assert prunable.cost(dense, "macs") == 313_201_664
    keep = quotas(policy, problem(prunable, 0.95))
    np.testing.assert_allclose(keep / dense, densities, atol=6e-4)
    assert prunable.cost(keep, "macs") / 313_201_664 == pytest.approx(macs, abs=1e-4)
    assert keep.sum() == round(0.05 * 14_715_584)


def test_igq_of_two_layers_is_the_published_one() -> None:
    prunable = linears(np.ones((1, 100)), np.ones((1, 10_000)))
    np.testing.assert_allclose(igq(problem(prunable))(1 / 9.88148e-4), [91.007, 919.0], atol=0.1)
    assert quotas("igq", problem(prunable, 0.9)).tolist() == [91, 919]


@pytest.mark.parametrize(
    ("sparsity", "keep"),
    [
        (0.5, [100, 458.3, 91.7]),  # p = 650 / 1200 of the two other layers
        (0.8, [100, 120, 40]),  # p = 0.867 is too much for the last layer: (1040 - 160) / 1000 of the middle layer
        (0.89, [100, 3, 40]),
    ],
)
def test_uniform_plus_keeps_the_first_layer_and_a_fifth_of_the_last(sparsity: float, keep: list[float]) -> None:
    prunable = linears(np.ones((1, 100)), np.ones((1, 1000)), np.ones((1, 200)))
    np.testing.assert_allclose(quotas("uniform-plus", problem(prunable, sparsity)), keep, atol=1)


def test_uniform_plus_says_how_far_it_goes() -> None:
    prunable = linears(np.ones((1, 100)), np.ones((2, 500)), np.ones((1, 203)))
    message = r"at least 143 of 1,303 params, but sparsity 0.9 leaves 130; use a sparsity of at most 0\.8902"
    with pytest.raises(ValueError, match=message):
        quotas("uniform-plus", problem(prunable, 0.9))
    assert quotas("uniform-plus", problem(prunable, 0.8902)).tolist() == [100, 2, 41]
    assert quotas("uniform", problem(prunable, 0.9)).sum() == 130


def test_random_is_the_same_for_a_seed_and_another_for_another() -> None:
    one, same, other = (quotas("random", problem(vgg16(), 0.8, seed=seed)) for seed in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()
    densities = one / dense_counts(vgg16())
    assert densities.max() / densities.min() > 2


@pytest.mark.parametrize("kind", ["params", "macs"])
def test_searched_with_equal_densities_is_uniform(kind: BudgetKind) -> None:
    ones = {part.name: 1.0 for part in vgg16().parts}
    searched = quotas("searched", problem(vgg16(), 0.9, kind, densities=ones))
    assert searched.tolist() == quotas("uniform", problem(vgg16(), 0.9, kind)).tolist()


def test_searched_refuses_missing_and_unknown_parts() -> None:
    densities = {part.name: 1.0 for part in vgg16().parts if part.name != "head"} | {"haed": 1.0}
    with pytest.raises(ValueError, match="but head are missing and haed are unknown"):
        quotas("searched", problem(vgg16(), densities=densities))
    with pytest.raises(ValueError, match=r"block1_1\.conv.* and 11 more are missing"):
        quotas("searched", problem(vgg16()))
