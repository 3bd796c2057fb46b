"""Correlations over samples: against SciPy's, and their intervals against resampling and ranking anew."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from search.samples.agreement import (
    COEFFICIENTS,
    PUBLISHED,
    RESAMPLES,
    Agreement,
    Coefficient,
    agreements,
    draw_counts,
    resampled,
)

Floats = NDArray[np.float64]
SCIPY: dict[Coefficient, Callable[[Floats, Floats], float]] = {
    "pearson": lambda x, y: float(stats.pearsonr(x, y).statistic),
    "spearman": lambda x, y: float(stats.spearmanr(x, y).statistic),
}


def hits(runs: int, samples: int, epochs: int, seed: int = 0) -> Floats:
    """Learnability of samples that are as easy to every run: (runs, samples), with many ties."""
    generator = np.random.default_rng(seed)
    chance = generator.beta(3, 1, size=samples)
    return generator.binomial(epochs, chance, size=(runs, samples)) / epochs


def margins(samples: int) -> Floats:
    """Two runs' margins, correlated, with no ties: (2, samples)."""
    generator = np.random.default_rng(1)
    return generator.normal(size=samples) + 0.5 * generator.normal(size=(2, samples))


@pytest.fixture(scope="module")
def runs() -> dict[str, Floats]:
    ours = hits(5, 240, 6)
    return {"vgg16": ours[:3], "resnet20": ours[3:]}


def of(found: list[Agreement], one: str, other: str, coefficient: Coefficient) -> Agreement:
    (each,) = [a for a in found if a.networks == (one, other) and a.coefficient == coefficient]
    return each


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_coefficients_are_those_of_scipy(runs: dict[str, Floats], coefficient: Coefficient) -> None:
    found, scipy = agreements(runs), SCIPY[coefficient]
    pair = of(found, "vgg16", "resnet20", coefficient)
    singles = [scipy(one, other) for one, other in product(runs["vgg16"], runs["resnet20"])]
    assert pair.pairs == pytest.approx(singles)
    assert pair.single is not None
    assert pair.single.value == pytest.approx(np.mean(singles))
    assert pair.means is not None
    assert pair.means.value == pytest.approx(scipy(runs["vgg16"].mean(axis=0), runs["resnet20"].mean(axis=0)))
    ceiling = of(found, "vgg16", "vgg16", coefficient)
    first, second, third = runs["vgg16"]
    assert ceiling.pairs == pytest.approx([scipy(first, second), scipy(first, third), scipy(second, third)])
    assert ceiling.means is None


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize("values", [hits(2, 300, 5), margins(300)], ids=["ties", "no ties"])
def test_resamples_are_close_to_ranking_what_was_drawn_anew(coefficient: Coefficient, values: Floats) -> None:
    drawn = resampled(values, coefficient)[1:201, 0, 1]
    exact = [SCIPY[coefficient](*np.repeat(values, counts, axis=1)) for counts in draw_counts(300)[:200]]
    assert np.abs(drawn - exact).max() < 0.7 * np.std(exact)
    ends = np.quantile(drawn, (0.025, 0.975)), np.quantile(exact, (0.025, 0.975))
    assert np.abs(ends[0] - ends[1]).max() < 0.1 * np.ptp(ends[1])


def test_each_resample_draws_as_many_samples_as_there_are() -> None:
    counts = draw_counts(50)
    assert (counts.sum(axis=1) == 50).all()
    assert abs(counts.mean(axis=0) - 1).max() < 5 / np.sqrt(RESAMPLES)
    assert counts.var() == pytest.approx(1, abs=0.05)


def test_published_figures_stand_beside_pearson_of_two_networks(runs: dict[str, Floats]) -> None:
    found = agreements(runs)
    assert of(found, "vgg16", "resnet20", "pearson").published == 0.796
    assert of(found, "vgg16", "resnet20", "spearman").published is None
    assert of(found, "vgg16", "vgg16", "pearson").published is None
    assert sorted(PUBLISHED.values()) == [0.713, 0.774, 0.796]


def test_a_run_that_tells_no_samples_apart_has_no_coefficient() -> None:
    (pair,) = [a for a in agreements({"a": hits(1, 40, 4), "b": np.full((1, 40), 0.3)}) if a.coefficient == "pearson"]
    assert (pair.single, pair.means, pair.pairs) == (None, None, ())


def test_intervals_shrink_with_the_root_of_the_samples() -> None:
    def width(samples: int) -> float:
        pair = of(agreements(dict(zip("ab", hits(2, samples, 8)[:, None], strict=True))), "a", "b", "pearson")
        assert pair.single is not None
        assert pair.single.low < pair.single.value < pair.single.high
        return pair.single.high - pair.single.low

    assert width(400) / width(6400) == pytest.approx(4, rel=0.3)
