"""How estimates and networks are worded, against texts written by hand."""

import pytest

from search.comparison.estimates import Estimate
from search.comparison.headline import Gap
from search.comparison.wording import correlation, plus_minus, with_ends, written
from search.results.names import model_name, network_name, pruning_name
from search.results.rows import row_of
from tests.search.comparison.test_compare import outcome
from trainables.pruning_spec import Schedule
from trainables.spec import DenseSpec


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (None, False, ""),
        (Estimate(mean=0.5), False, "50.0"),
        (Estimate(mean=0.5, low=0.4, high=0.6), False, "50.0 ±10.0"),
        (Estimate(mean=0.5, low=0.4, high=0.7), False, "50.0 [40.0, 70.0]"),
        (Estimate(mean=0.5, low=-0.1, high=0.7), True, "+50.0 [-10.0, +70.0]"),
        (Gap(mean_gap=-0.02, max_gap=0.1, max_sparsity=0.5, low=-0.05, high=0.01), True, "-2.0 ±3.0"),
    ],
)
def test_an_estimate_in_percent(value: Estimate | Gap | None, signed: bool, text: str) -> None:
    assert written(value, signed) == text


def test_an_interval_longer_than_the_scale_says_too_few_seeds() -> None:
    two_seeds = Estimate.of([0.40, 0.61])  # Student's t with one degree of freedom is 12.7
    assert (two_seeds.low, two_seeds.high) == pytest.approx((0.505 - 1.334, 0.505 + 1.334), abs=1e-3)
    assert written(two_seeds) == "50.5 (too few seeds)"
    assert written(two_seeds, signed=True, too_few=" ±?") == "+50.5 ±?"
    assert plus_minus(0.5, -0.1, 1.1) == with_ends(0.5, -0.1, 1.1) == "0.500 (too few seeds)"
    assert written(Estimate(mean=0.5, low=0.0, high=1.0)) == "50.0 ±50.0"
    assert written(Gap(mean_gap=0.1, max_gap=0.1, max_sparsity=0.5, low=-0.5, high=0.7)) == "10.0 (too few seeds)"


def test_an_interval_is_half_its_length_or_its_ends() -> None:
    assert plus_minus(0.81234, 0.8, 0.83) == "0.812 ±0.015"
    assert with_ends(0.81234, 0.8, 0.83) == "0.812 [0.800, 0.830]"
    assert plus_minus(0.81234, None, None) == with_ends(0.81234, None, None) == "0.812"
    assert correlation(Estimate(mean=0.5, low=-0.25, high=1)) == "0.50 (-0.25 to 1.00)"
    assert correlation(Estimate(mean=0.5)) == "0.50"


def test_networks_and_prunings_have_short_names() -> None:
    row = row_of(outcome("uniform", 0.5, 0, 0.5, dense=DenseSpec(model="resnet20", width=0.5)))
    assert (model_name("resnet20", 1.0), model_name("resnet20", 0.5)) == ("resnet20", "resnet20 x 0.5")
    assert (network_name(row), pruning_name(row)) == ("digits: resnet20 x 0.5", "weights by magnitude")
    stepwise = row_of(outcome("uniform", 0.5, 0, 0.5, schedule=Schedule(name="iterative", steps=3)))
    assert pruning_name(stepwise) == "weights by magnitude, iterative"
    again = row.model_copy(update={"before": "blocks 0.2 by magnitude and uniform", "granularity": "channel"})
    assert pruning_name(again) == "blocks 0.2 by magnitude and uniform, then channels by magnitude"
