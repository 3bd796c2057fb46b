"""Schedulers of several goals stop what ranks behind: decisions worked by hand."""

import pytest

from tests.search.methods.feeding import CONTINUE, STOP, TWO, Fed
from trainables.task_spec import MetricSpec


def test_asha_of_two_goals_keeps_the_best_third_by_rank_and_crowding() -> None:
    """Worked by hand; points are (promise or accuracy, macs), and d their crowding distance."""
    fed = Fed("asha", goals=TWO).add(*(f"a{n}" for n in range(1, 8)))
    assert fed.hear("a1", 0, 0.5, macs=0.5) == CONTINUE  # the first trial at this rung
    assert fed.hear("a2", 0, 0.9, macs=0.9) == CONTINUE  # neither dominates, and both are ends
    assert fed.hear("a3", 0, 0.4, macs=0.6) == STOP  # a1 dominates it, so two of three are ahead
    assert fed.hear("a4", 0, 0.1, macs=0.1) == CONTINUE  # front a1, a2, a4; a4 is an end
    # front a1, a2, a4, a5. a5 has d = (0.9 - 0.5) / 0.8 + (0.9 - 0.5) / 0.8 = 1.0; a1 has 0.5 / 0.8 + 0.5 / 0.8 = 1.25,
    # and the ends are further still: three of five are ahead
    assert fed.hear("a5", 0, 0.6, macs=0.6) == STOP
    assert fed.hear("a6", 0, 1.0, macs=0.05) == CONTINUE  # dominates all
    assert fed.hear("a7", 0, 0.95, macs=0.06) == CONTINUE  # only a6 is ahead: one of seven
    assert fed.hear("a1", 1, 0.0, macs=0.5) == CONTINUE  # no rung
    assert fed.hear("a6", 2, 0.8, macs=0.05) == CONTINUE
    assert fed.hear("a1", 2, 0.8, macs=0.5) == STOP  # dominated at the rung of epoch 2


def test_goals_keep_the_direction_of_the_metric() -> None:
    fed = Fed("asha", 1, metric=MetricSpec(name="perplexity", higher_is_better=False), goals=TWO).add("a1", "a2", "a3")
    assert fed.hear("a1", 1, 8.0, macs=0.5) == CONTINUE
    assert fed.hear("a2", 1, 7.0, macs=0.4) == CONTINUE
    assert fed.hear("a3", 1, 9.0, macs=0.6) == STOP


def test_the_median_rule_of_two_goals_stops_what_ranks_behind_more_than_half() -> None:
    fed = Fed("median", goals=TWO).add("a1", "a2", "a3", "a4", "a5", "a6")
    for name, promise, macs in (("a1", 0.2, 0.2), ("a2", 0.5, 0.5), ("a3", 0.8, 0.8)):  # the rule needs three others
        assert fed.hear(name, 0, promise, macs=macs) == CONTINUE
    assert fed.hear("a4", 0, 0.19, macs=0.9) == STOP  # all three dominate it
    assert fed.hear("a5", 0, 0.49, macs=0.5) == STOP  # behind the front of a1, a2, a3
    assert fed.hear("a6", 0, 0.6, macs=0.4) == CONTINUE  # dominates a2
    for name, accuracy, macs in (("a1", 0.3, 0.2), ("a2", 0.6, 0.5), ("a3", 0.9, 0.8)):
        assert fed.hear(name, 1, accuracy, macs=macs) == CONTINUE
    assert fed.hear("a6", 1, 0.29, macs=0.4) == STOP


@pytest.mark.parametrize("name", ["asha", "median", "hyperband"])
def test_a_trial_whose_costs_are_unknown_is_not_judged(name: str) -> None:
    fed = Fed(name, goals=TWO).add(*(f"a{n}" for n in range(9)))
    assert [fed.hear(f"a{n}", 0, 0.9 - n / 10) for n in range(9)] == [CONTINUE] * 9


def test_hyperband_of_two_goals_starts_some_trials_later() -> None:
    """If each trial is dominated by the one before, only the first trials of each first rung are left."""
    fed = Fed("hyperband", goals=TWO)
    left = [f"a{n}" for n in range(200)]
    fed.add(*left)
    stopped = {}
    for epoch in range(10):
        told = {name: fed.hear(name, epoch, 0.9 - int(name[1:]) / 1000, macs=int(name[1:]) / 1000) for name in left}
        left = [name for name in left if told[name] == CONTINUE]
        stopped[epoch] = len(told) - len(left)
    assert {epoch for epoch, count in stopped.items() if count} == {0, 2, 8}
    assert stopped[0] > stopped[2] > stopped[8]
    assert len(left) <= 3
