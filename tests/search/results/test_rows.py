"""Rows of trials with functions of the user's own: compared with other policies, told apart by their code."""

import pytest

from search.results.rows import row_of
from search.study.reading import read_study
from trainables.outcome import Outcome
from trainables.spec import TrialSpec


def rows(*policies: str, known: dict[str, str]) -> list[tuple[str, str, str]]:
    specs = [TrialSpec().under(policy, TrialSpec().gates).with_code(known) for policy in policies]
    found = [row_of(Outcome(spec=spec, status="failed", error="x")) for spec in specs]
    return [(row.policy, row.setting, row.cell) for row in found]


def test_a_policy_of_the_users_own_is_compared_within_the_same_setting() -> None:
    known = {"rules:halves": "0123456789abcdef samples"}
    uniform, own = rows("uniform", "rules:halves", known=known)
    assert own == ("rules:halves-01234567", uniform[1], uniform[2])
    (changed,) = rows("rules:halves", known={"rules:halves": "fedcba9876543210"})
    assert changed == ("rules:halves-fedcba98", uniform[1], uniform[2])


def test_a_criterion_of_the_users_own_is_a_setting() -> None:
    spec = TrialSpec(criterion="rules:score")
    first, second = (
        row_of(Outcome(spec=spec.with_code({"rules:score": digit * 16}), status="failed", error="x")) for digit in "12"
    )
    assert first.setting != second.setting
    assert first.cell != second.cell


def test_a_search_does_not_start_from_a_policy_of_the_users_own() -> None:
    with pytest.raises(ValueError, match="must name policies of the catalog, but got 'rules:halves'"):
        read_study("digits", ["search.warm_start=[uniform,'rules:halves']"])
