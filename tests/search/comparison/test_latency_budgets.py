"""Budgets of latency match within the spread of the measured runs of both trials, and within 10 % at most."""

from pathlib import Path

import pytest

from search.comparison.compare import compare
from search.verification.comparisons import problems_of
from tests.search.reports import study_of, trial_row

DENSE_MS = 10.0
WARNED = "latency kept differ from uniform's"


@pytest.mark.parametrize(
    ("spreads", "times", "match"),
    [
        ((0.08, 0.02), (7.0, 6.6), True),  # 5.7 % of the larger one
        ((0.02, 0.08), (7.0, 6.6), True),
        ((0.05, 0.05), (7.0, 6.6), False),
        ((0.0, 0.0), (7.0, 6.94), True),  # the tolerance of counts: 1 %
        ((0.0, 0.0), (7.0, 6.92), False),
        ((0.5, 0.5), (7.0, 6.31), True),
        ((0.5, 0.5), (7.0, 6.29), False),
    ],
)
def test_a_row_is_warned_of_exactly_if_its_gap_is_left_out(
    spreads: tuple[float, float], times: tuple[float, float], match: bool, tmp_path: Path
) -> None:
    timed = {"budget": "latency", "granularity": "channel", "dense_latency_ms": DENSE_MS, "device": "torch-cpu"}
    rows = [
        trial_row(policy, 0.3, seed, accuracy, 2, **timed, latency_ms=ms, latency_spread=spread)
        for policy, accuracy, ms, spread in zip(("uniform", "erk"), (0.8, 0.9), times, spreads, strict=True)
        for seed in (0, 1)
    ]
    found = compare([study_of(tmp_path, rows)])
    (erk,) = (row for row in found.rows if row.policy == "erk")
    assert (erk.gap_to_uniform is not None) == match
    assert [line.partition(" by ")[0] for line in erk.warnings] == [WARNED] * (not match)
    assert problems_of(found, {row.trial: row for row in rows}) == []
