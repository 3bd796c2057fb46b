"""Pareto sets, by the definition."""

from hypothesis import given
from hypothesis import strategies as st

from search.fronts import pareto

POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12)


def test_a_front_worked_out_by_hand() -> None:
    assert pareto([(3, 1), (1, 3), (2, 2), (2, 3), (3, 3), (2, 2)]) == [1, 2, 0]


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
