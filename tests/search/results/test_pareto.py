"""Pareto sets, by the definition."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from search.report.sections.pareto import front
from search.results.pareto import pareto
from tests.search.reports import trial_row

POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12)
ACCURACIES = st.integers(0, 5).map(lambda tenths: tenths / 10)


def test_a_front_worked_out_by_hand() -> None:
    assert pareto([(3, 1), (1, 3), (2, 2), (2, 3), (3, 3), (2, 2)]) == [1, 2, 0]


@settings(deadline=None)  # a shared machine may stall any example
@given(POINTS)
def test_a_point_is_left_out_if_and_only_if_another_is_as_low_everywhere(points: list[tuple[int, ...]]) -> None:
    front = pareto(points)
    assert sorted({points[i] for i in front}) == [points[i] for i in front]  # by the first coordinate, each once
    for index, point in enumerate(points):
        beaten = any(
            all(a <= b for a, b in zip(rival, point, strict=True)) and rival != point
            for other, rival in enumerate(points)
            if other != index
        )
        assert (point in {points[i] for i in front}) is not beaten


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), ACCURACIES), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[int, float]]) -> None:
    rows = [trial_row("erk", 0.5, 0, accuracy, 1, params_kept=kept) for kept, accuracy in points]
    found = {(row.params_kept, row.best_val_accuracy) for row in front(rows, "params")}
    beaten = {a for a, b in itertools.permutations(points, 2) if b[0] <= a[0] and b[1] >= a[1] and b != a}
    assert found == set(points) - beaten
    assert not front(rows, "latency")  # which none of them measured


def test_a_front_of_latencies_is_of_those_who_measured_it() -> None:
    measured = {"a": (0.9, 2.0), "b": (0.8, 1.0), "c": (0.7, 1.5)}
    rows = [trial_row("erk", 0.5, 0, acc, 1, trial=name, latency_ms=ms) for name, (acc, ms) in measured.items()]
    rows.append(trial_row("erk", 0.5, 0, 1.0, 1, trial="d"))
    assert [row.trial for row in front(rows, "latency")] == ["b", "a"]
