"""What pictures of samples show: the right ones, in the right order, and the least-squares line."""

import numpy as np
import pytest

from search.samples.contact_sheet import COLUMNS, ContactSheet
from search.samples.scatter import edges_of, histogram, least_squares, scatter
from trainables.data import sources
from trainables.data_spec import DataSpec


def test_the_line_is_that_of_least_squares() -> None:
    x, y = np.random.default_rng(0).random((2, 60))
    assert least_squares(x, y) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert least_squares(np.full(9, 0.5), np.arange(9.0)) == (0.0, 4.0)


@pytest.mark.parametrize("levels", [2, 3, 9, 40, 41, 61, 161, 481])
def test_every_cell_but_the_last_holds_as_many_values(levels: int) -> None:
    values = np.arange(levels) / (levels - 1)
    counts = np.histogram(values, edges_of(levels))[0]
    assert counts.sum() == levels
    assert len(counts) <= 40
    assert len({*counts[:-1].tolist()}) == 1
    assert counts[-1] <= counts[0]


def test_descriptions_tell_what_charts_show() -> None:
    x = np.array([0.0, 0.5, 1.0, 1.0])
    assert "4 samples" in scatter(x, x, ("a", "b"), "", 3).description
    assert "learnability in b = 1.000 times that in a + 0.000" in scatter(x, x, ("a", "b"), "", 3).description
    assert "a: 50.0 % of the samples in the highest bin, 25.0 %" in histogram({"a": [x]}, 3).description


def test_the_sheet_has_the_easiest_and_the_hardest_of_each_class() -> None:
    source = sources.listing(DataSpec())
    ids = np.arange(0, 600, 2)
    values = np.random.default_rng(0).random(len(ids))
    sheet = ContactSheet(ids, source.labels[ids], values, np.argsort(values), np.zeros(len(ids), bool), source)
    easiest, hardest = sheet.panels()
    for label in range(10):
        own = ids[source.labels[ids] == label]
        hard = sorted(own, key=lambda number: values[number // 2])
        assert f"{label}: {', '.join(map(str, hard[:COLUMNS]))}" in hardest.description
        assert f"{label}: {', '.join(map(str, hard[::-1][:COLUMNS]))}" in easiest.description
