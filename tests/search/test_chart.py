"""How a chart looks: names that can be read, policies that can be told apart, round numbers on an axis."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from search.report.chart import HUES, Panel, _apart, compose, readable, round_numbers, styles


@given(st.dictionaries(st.integers().map(str), st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.05))
def test_names_beside_lines_keep_their_order_and_do_not_touch(wanted: dict[str, float], gap: float) -> None:
    places = _apart(wanted, gap)
    order = sorted(wanted, key=lambda name: wanted[name])
    for lower, upper in itertools.pairwise(order):
        assert places[upper] - places[lower] >= gap - 1e-9
    assert max(places.values()) <= 1 + 1e-9
    if all(wanted[b] - wanted[a] >= gap for a, b in itertools.pairwise(order)):
        assert places == pytest.approx(wanted)


def test_no_two_policies_look_alike_without_colour() -> None:
    looks = styles([f"policy {i}" for i in range(20)]).values()
    assert len({(look.marker, look.dashes) for look in looks}) == 20
    assert len({look.hue for look in list(looks)[: len(HUES)]}) == len(HUES)


def test_a_narrow_panel_cuts_off_nothing_of_what_stands_above_and_below_it() -> None:
    panel = Panel("sparsity 0.5", "", lambda axis: None, width=100)
    name = "parquet: resnet56 x 0.25, channels by group-norm, fine-tuned towards the dense network"
    for heading, footer in (("What each layer keeps", "howcompact: gates; 2026-11-26"), ("a" * 30, "b" * 200)):
        figure = compose({name: [panel]}, heading=heading, footer=footer)
        canvas: Any = FigureCanvasAgg(figure)
        right = max(text.get_window_extent(canvas.get_renderer()).x1 for text in figure.texts)
        assert right <= figure.bbox.width


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
