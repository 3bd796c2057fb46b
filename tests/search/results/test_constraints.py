"""What --where and --metric mean."""

import pytest

from search.results.constraints import METRICS, TEXTS, conditions, penalty, ranking_field, value_of
from search.results.rows import row_of
from search.study.search_spec import LATENCY
from tests.search.comparison.test_compare import outcome

ROW = row_of(outcome("uniform", 0.5, 3, 0.75, kept=250))


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("sparsity>=0.5", True),
        ("sparsity > 0.5", False),
        ("params<=0.25", True),
        ("macs<0.25", False),
        ("params_kept==250", True),
        ("seed!=3", False),
        ("best_val_accuracy>=7.5e-1", True),
        ("policy==uniform", True),
        ("recovery != finetune", False),
        ("hardware==cpu", True),
    ],
)
def test_a_condition_is_what_it_says(text: str, met: bool) -> None:
    (condition,) = conditions([text], [ROW])
    assert condition.holds(value_of(ROW, condition.name)) is met


def test_what_was_never_reached_meets_nothing() -> None:
    unreached = ROW.model_copy(update={"recalibrated_accuracy": None, "macs_kept": None, "macs_total": None})
    for condition in conditions(["recalibrated_accuracy<=1", "macs<=1"], [ROW]):
        assert condition.holds(value_of(ROW, condition.name))
        assert not condition.holds(value_of(unreached, condition.name))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sparsety>=0.9", "did you mean 'sparsity'"),
        ("sparsity=0.9", "must be like"),
        ("sparsity", "must be like"),
        ("sparsity>=..1", "must compare sparsity with a number"),
        ("sparsity<=nan", "must compare sparsity with a number"),
        ("policy>=uniform", "must compare the text policy by == or !="),
        ("policy==unifrom", "did you mean 'uniform'"),
        ("recovery==rewind", "one of: finetune"),
        ("layers==a", "must be a known name"),
    ],
)
def test_a_wrong_condition_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        conditions([text], [ROW])


def test_accuracy_and_sparsity_are_best_high_and_every_cost_low() -> None:
    high = {name for name in METRICS if penalty(ROW, name, 2.0) < penalty(ROW, name, 1.0)}
    assert high == {
        "sparsity",
        *(f"{n}_accuracy" for n in ("dense", "one_shot", "recalibrated", "compensated", "best_val", "quantised")),
    }
    assert {"params", "macs", "params_kept", "macs_kept", "seconds", LATENCY} <= set(METRICS) - high


@pytest.mark.parametrize("name", ["seed", "policy", "val_acuracy"])
def test_what_ranks_nothing_is_no_metric(name: str) -> None:
    with pytest.raises(ValueError, match="--metric must be a known name"):
        ranking_field(name, [ROW])


def test_every_text_of_a_row_can_be_asked_for() -> None:
    assert {"policy", "criterion", "recovery", "schedule", "granularity", "model", "dataset", "budget"} <= set(TEXTS)
