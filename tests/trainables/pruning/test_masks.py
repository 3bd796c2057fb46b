from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainables.data import sources
from trainables.data.batches import Resident
from trainables.data_spec import DataSpec
from trainables.models import hub
from trainables.models.layers import count
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import top_units
from trainables.pruning.masks import Weights
from trainables.recipe import Recipe
from trainables.training.train import TrainingPlan, train
from trainables.training.updates import Updates


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: m.weight for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_top_units_are_those_of_a_stable_sort(data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.5000001, 2.0, 3e38]), min_size=1, max_size=60))
    keep = data.draw(st.integers(1, len(scores)))
    expected = np.sort(np.argsort(-np.array(scores, np.float32), kind="stable")[:keep])
    assert top_units(torch.tensor(scores), keep).tolist() == expected.tolist()


def test_of_equal_scores_the_first_stay() -> None:
    assert top_units(torch.tensor([1.0, 2.0, 1.0, 1.0]), 3).tolist() == [0, 1, 2]
    assert top_units(torch.tensor([1.0, 1.0]), 2).tolist() == [0, 1]


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_removal_zeroes_all_but_the_largest_weights(fraction: float) -> None:
    model = hub.build("small_cnn", 10, 1)
    before = {name: weight.detach().clone() for name, weight in weights_of(model).items()}
    prunable = Weights(model, torch.zeros(1, 1, 8, 8))
    keep = {p.name: max(p.floor, int(fraction * p.units)) for p in prunable.parts}
    scores = CRITERIA["magnitude"](PruningContext(prunable))
    masks = prunable.remove({name: top_units(scores[name], units) for name, units in keep.items()}).masks
    for name, weight in weights_of(model).items():
        dense, pruned = before[name].flatten().numpy(), weight.detach().flatten().numpy()
        top = np.argsort(-np.abs(dense), kind="stable")[: keep[name]]
        expected = np.zeros_like(dense)
        expected[top] = dense[top]
        np.testing.assert_array_equal(pruned, expected)
        assert masks[f"{name}.weight"].shape == weight.shape
        assert int(masks[f"{name}.weight"].sum()) == keep[name]
    assert count(model, masks, torch.zeros(1, 1, 8, 8)).weights == keep
    assert prunable.cost(np.array(list(keep.values())), "params") == sum(keep.values())


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.01), (0.0, 0.1)])
def test_pruned_weights_stay_zero_through_every_step(momentum: float, weight_decay: float) -> None:
    recipe = Recipe(epochs=2, lr=0.1, batch_size=32, momentum=momentum, weight_decay=weight_decay)
    splits = sources.load(DataSpec(max_train=128))
    torch.manual_seed(0)
    model = hub.build("small_cnn", 10, 1, width=0.5)
    earlier = Updates(model, recipe)
    torch.manual_seed(1)
    earlier.step(sum((torch.randn_like(p) * p).sum() for p in model.parameters()))  # type: ignore[arg-type]
    prunable = Weights(model, torch.zeros(1, 1, 8, 8))
    masks = prunable.remove({p.name: torch.arange(p.units // 2) for p in prunable.parts}).masks
    updates = Updates(model, recipe, masks)
    updates.remember(earlier.memory())  # a momentum that pushes the removed weights
    nonzero = []

    def look(*_: Any) -> None:
        nonzero.append({name: weight != 0 for name, weight in weights_of(model).items()})

    model.register_forward_pre_hook(look)
    losses = list(train(model, Resident(splits.train, splits, "cpu"), TrainingPlan(recipe), updates))
    look()
    assert len(losses) == 2
    assert len(nonzero) == 2 * 4 + 1  # before each step, and after the last
    for seen in nonzero:
        assert all(torch.equal(seen[name.removesuffix(".weight")], mask) for name, mask in masks.items())
