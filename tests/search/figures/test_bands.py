"""Bands are shaded where an interval says something, and nowhere else."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from search.figures.bands import band


@pytest.mark.parametrize(
    ("intervals", "shaded"),
    [
        ([(60.0, 70.0), (65.0, 75.0), (66.0, 74.0)], [0.0, 2.0]),
        ([(60.0, 70.0), (65.0, 75.0), (40.0, 90.0)], [0.0, 1.0]),  # the last one reaches beyond the axis, both ways
        ([(60.0, 70.0), (30.0, 75.0), None], [0.0, 1.0]),  # beyond one end only
        ([None, (40.0, 90.0), None], []),
    ],
)
def test_a_band_never_fills_the_plot(intervals: list[tuple[float, float] | None], shaded: list[float]) -> None:
    axis = Figure().add_subplot()
    axis.set_ylim(50.0, 80.0)
    band(axis, [0.0, 1.0, 2.0], intervals, "red")
    xs = [np.asarray(path.vertices)[:, 0] for shape in axis.collections for path in shape.get_paths()]
    found = np.concatenate(xs) if xs else np.array([])
    assert [found.min(), found.max()] == shaded if shaded else not len(found)
    assert axis.get_ylim() == (50.0, 80.0)
