"""The ticks of a logarithmic axis."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.figures.axes import readable, round_numbers


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1, 1e6, [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]),
        (5, 100, [10, 30, 100]),
        (0.15, 5, [0.3, 1, 3]),
        (12, 60, [20, 30, 50]),
        (9, 55, [10, 20, 50]),
        (28, 74, [30, 50, 70]),
        (7.1, 21.3, [10, 20]),  # there is no third
    ],
)
def test_an_axis_is_read_by_the_roundest_numbers(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high) == pytest.approx(expected)


@given(st.floats(1e-6, 1e9), st.floats(1, 100))
def test_an_axis_of_budgets_that_match_can_be_read_all_the_same(low: float, factor: float) -> None:
    least, most = readable(low, low * factor)
    assert least <= low * (1 + 1e-9)
    assert most / least == pytest.approx(max(factor, 1.6))
    assert least * most == pytest.approx(low * low * factor)  # its middle stays
    assert round_numbers(least, most)


@given(st.floats(1e-6, 1e9), st.floats(5, 1e6))
def test_an_axis_that_spans_a_factor_of_five_has_three_round_numbers(low: float, factor: float) -> None:
    """A smaller factor may leave two: the widest gap that holds no third is from beyond 1 to before 5."""
    found = round_numbers(low, low * factor)
    assert len(found) >= 3
    assert all(one < other for one, other in itertools.pairwise(found))
    assert low <= found[0]
    assert found[-1] <= low * factor
