"""Which networks `best` and `front` choose."""

import pytest

from search.results.rows import TrialRow, row_of
from search.retrieval.choosing import BestRequest, choose, choose_front
from tests.search.comparison.test_compare import outcome
from trainables.outcome import Outcome
from trainables.spec import TrialSpec

ROWS = [
    row_of(outcome("uniform", 0.5, 0, 0.9, kept=500)),
    row_of(outcome("capacity", 0.9, 0, 0.8, kept=100)),
    row_of(outcome("capacity", 0.9, 1, 0.7, kept=100)),
    row_of(outcome("capacity", 0.9, 1, 0.75, kept=100, recovery="rewind")),
    row_of(Outcome(spec=TrialSpec(policy="erk"), status="failed", error="x")),
]
MILLISECONDS = dict(zip((row.trial for row in ROWS), (4.0, 2.0, 1.0, 3.0, 9.0), strict=True))


def request(metric: str, where: list[str], policy: str | None) -> BestRequest:
    return BestRequest(metric=metric, where=where, policy=policy)


def at_once(row: TrialRow) -> float:
    return MILLISECONDS[row.trial]


def never(row: TrialRow) -> float:
    raise AssertionError("latency is measured only where it is asked for")


@pytest.mark.parametrize(
    ("metric", "where", "policy", "expected"),
    [
        ("best_val_accuracy", [], None, 0),
        ("best_val_accuracy", ["sparsity>=0.9"], None, 1),
        ("best_val_accuracy", ["sparsity>0.5", "seed==1"], None, 3),
        ("best_val_accuracy", ["sparsity>0.5", "seed==1", "recovery==finetune"], None, 2),
        ("best_val_accuracy", ["params<=0.2"], None, 1),
        ("best_val_accuracy", ["macs<=0.2", "best_val_accuracy<0.72"], None, 2),
        ("best_val_accuracy", [], "capacity", 1),
        ("macs", ["best_val_accuracy>=0.85"], None, 0),
        ("sparsity", ["seed==0"], None, 1),
    ],
)
def test_the_best_trial_meets_every_constraint(
    metric: str, where: list[str], policy: str | None, expected: int
) -> None:
    assert choose(ROWS, request(metric, where, policy), never) == ROWS[expected]


def test_of_equal_trials_the_smaller_network_is_best() -> None:
    rows = [row_of(outcome("uniform", s, 0, 0.8, kept=k)) for s, k in ((0.5, 500), (0.9, 100))]
    assert choose(rows, request("best_val_accuracy", [], None), never).params_kept == 100


def test_latency_is_measured_in_the_order_of_the_metric_until_one_is_fast_enough() -> None:
    measured: list[TrialRow] = []

    def noted(row: TrialRow) -> float:
        measured.append(row)
        return at_once(row)

    assert choose(ROWS, request("best_val_accuracy", ["latency_ms<=2"], None), noted) == ROWS[1]
    assert measured == ROWS[:2]
    assert choose(ROWS, request("latency_ms", [], None), at_once) == ROWS[2]
    assert choose(ROWS, request("latency_ms", ["latency_ms>=3"], None), at_once) == ROWS[3]


def test_the_front_holds_the_networks_that_no_other_beats() -> None:
    assert choose_front(ROWS, request("best_val_accuracy", [], None), never) == [ROWS[0], ROWS[1]]
    assert choose_front(ROWS, request("best_val_accuracy", ["latency_ms<=9"], None), at_once) == [
        ROWS[0],
        ROWS[1],
        ROWS[2],
    ]
    assert choose_front(ROWS, request("best_val_accuracy", ["latency_ms<2"], None), at_once) == [ROWS[2]]
    assert choose_front(ROWS, request("best_val_accuracy", [], "uniform"), never) == [ROWS[0]]


@pytest.mark.parametrize(
    ("metric", "where", "policy", "complaint"),
    [
        (
            "best_val_accuracy",
            ["sparsity>=0.99", "macs<=0.2"],
            None,
            r"none of 4 does .*sparsity>=0.99: 0, macs<=0.2: 3",
        ),
        ("best_val_accuracy", ["sparsety>=0.9"], None, "did you mean 'sparsity'"),
        ("best_val_acuracy", [], None, "did you mean 'best_val_accuracy'"),
        ("best_val_accuracy", [], "capacty", "did you mean 'capacity'"),
        ("best_val_accuracy", ["latency_ms<0.5"], None, "medians of the 4 that meet all others are 1 to 4 ms"),
    ],
)
def test_a_wrong_request_is_refused(metric: str, where: list[str], policy: str | None, complaint: str) -> None:
    for ask in (choose, choose_front):
        with pytest.raises(ValueError, match=complaint):
            ask(ROWS, request(metric, where, policy), at_once)


def test_a_study_without_finished_trials_has_no_best() -> None:
    with pytest.raises(ValueError, match="none of 1 is; run the study first"):
        choose(ROWS[-1:], request("best_val_accuracy", [], None), never)
