"""Charts: names that can be read, policies that differ."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from search.figures.chart import HUES, Panel, _apart, compose, styles


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
