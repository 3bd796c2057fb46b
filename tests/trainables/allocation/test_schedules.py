"""Schedules compared with numbers worked by hand, and the plans that follow from them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainables.allocation.plan import plan, prune_further
from trainables.allocation.schedules import SCHEDULES, sparsities
from trainables.models import hub
from trainables.models.layers import count
from trainables.pruning_spec import Schedule
from trainables.spec import TrialSpec

EXAMPLE = torch.zeros(1, 1, 8, 8)
STEPWISE = pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"one-shot"}))
GRANULARITIES = pytest.mark.parametrize(("granularity", "criterion"), [("weight", "magnitude"), ("channel", "l1")])


def after_each(name: str, steps: int, target: float) -> list[float]:
    return [round(sparsity, 6) for sparsity in sparsities(Schedule(name=name, steps=steps), target)]


def test_sparsities_are_those_worked_by_hand() -> None:
    assert after_each("one-shot", 1, 0.9) == [0.9]
    assert after_each("iterative", 4, 0.9375) == [0.5, 0.75, 0.875, 0.9375]  # removes half of the rest, four times
    assert after_each("iterative", 2, 0.36) == [0.2, 0.36]
    assert after_each("gradual", 4, 0.64) == [0.37, 0.56, 0.63, 0.64]  # 0.64 minus 0.27, 0.08, 0.01 and 0
    assert after_each("gradual", 2, 0.8) == [0.7, 0.8]


def test_twenty_rounds_of_a_fifth_of_what_remains() -> None:
    kept = [1 - sparsity for sparsity in sparsities(Schedule(name="iterative", steps=20), 1 - 0.8**20)]
    assert kept == pytest.approx([0.8**step for step in range(1, 21)])


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 30), st.floats(0, 0.999))
def test_sparsities_rise_to_the_target_itself(name: str, steps: int, target: float) -> None:
    found = sparsities(Schedule(name=name, steps=steps), target)
    assert len(found) == steps
    assert list(found) == pytest.approx(sorted(found), abs=1e-15)
    assert found[-1] == target
    assert min(found) >= -1e-15


def spec_of(granularity: str, criterion: str, policy: str, **schedule: object) -> TrialSpec:
    given = {"granularity": granularity, "criterion": criterion, "policy": policy, "sparsity": 0.9}
    return TrialSpec.model_validate({**given, "schedule": schedule})


@STEPWISE
@GRANULARITIES
@pytest.mark.parametrize("policy", ["uniform", "erk", "random", "capacity-energy"])
def test_quotas_only_shrink_and_end_where_one_shot_pruning_would(
    name: str, granularity: str, criterion: str, policy: str
) -> None:
    torch.manual_seed(0)
    model = hub.build("small_cnn", 10, 1)
    stepwise = plan(model, EXAMPLE, spec_of(granularity, criterion, policy, name=name, steps=4))
    at_once = plan(model, EXAMPLE, spec_of(granularity, criterion, policy))
    assert len(stepwise.steps) == 4
    assert stepwise.steps[-1] == at_once.steps[-1]
    assert stepwise.parts == at_once.parts
    for before, after in zip(stepwise.steps, stepwise.steps[1:], strict=False):
        assert all(before[part] >= after[part] for part in before)
        assert before != after
    if (granularity, policy) == ("weight", "uniform"):
        weights = sum(part.units for part in stepwise.prunable.parts)
        kept = [sum(quota.values()) for quota in stepwise.steps]
        assert kept == [round((1 - s) * weights) for s in sparsities(Schedule(name=name, steps=4), 0.9)]


def test_a_later_step_asks_the_criterion_anew_among_what_is_left() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1, bias=False))
    layer = model[1]
    assert isinstance(layer, nn.Linear)
    layer.weight.data = torch.tensor([[1.0, 6.0, 2.0, 5.0, 3.0, 4.0]])
    spec, example = TrialSpec(), torch.zeros(1, 1, 2, 3)
    masks = prune_further(model, example, spec, None, {}, {"1": 4}).masks
    assert layer.weight.tolist() == [[0.0, 6.0, 0.0, 5.0, 3.0, 4.0]]
    layer.weight.data = torch.tensor([[0.0, 0.0, 0.0, -7.0, 9.0, 0.0]])  # the weights after training
    masks = prune_further(model, example, spec, None, masks, {"1": 3}).masks
    assert masks["1.weight"].tolist() == [
        [False, True, False, True, True, False]
    ]  # keeps the first of two zeros; no removed weight returns
    assert layer.weight.tolist() == [[0.0, 0.0, 0.0, -7.0, 9.0, 0.0]]


@pytest.mark.parametrize("model_name", ["resnet20", "mobilenet"])
@pytest.mark.parametrize("policy", ["uniform", "erk"])
def test_channels_cut_step_by_step_leave_the_widths_of_one_cut(model_name: str, policy: str) -> None:
    def cut(**schedule: object) -> nn.Module:
        torch.manual_seed(0)
        model = hub.build(model_name, 10, 1, width=0.25)
        spec = spec_of("channel", "l1", policy, **schedule).model_copy(update={"sparsity": 0.97})  # down to one channel
        example = torch.zeros(1, 1, 32, 32)
        total = count(model, {}, example).params_kept
        chosen = plan(model, example, spec)
        masks = chosen.carry_out().masks
        for quota in chosen.steps[1:]:
            masks = prune_further(model, example, spec, None, masks, quota).masks
        assert masks == {}
        assert model.eval()(torch.randn(2, 1, 32, 32)).shape == (2, 10)
        assert count(model, {}, example).params_kept <= 0.03 * total
        return model

    stepwise, at_once = cut(name="gradual", steps=3), cut()
    shapes = [[tuple(p.shape) for p in model.parameters()] for model in (stepwise, at_once)]
    assert shapes[0] == shapes[1]
