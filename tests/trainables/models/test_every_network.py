"""The contract of weights and counts, on networks of many kinds.

Every parameter is a weight of a layer or fixed. Multiply-accumulates are those of torch's counter. Pruning at sparsity
0.9 keeps exactly the budget, and the masks hold in training.
"""

import copy
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.trainables.models.library_networks import LIBRARY_NETWORKS
from tests.trainables.models.networks import NETWORKS
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.models.layers import Inventory, Masks, count, inventory
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import top_units
from trainables.pruning.masks import Weights
from trainables.recipe import Recipe
from trainables.training.updates import Updates

EVERY = pytest.mark.parametrize("name", [*NETWORKS, *LIBRARY_NETWORKS])
UNSEEN = {"own": 17 * 6 * 8 * 8}  # multiply-accumulates of nn.Bilinear, which torch's counter does not know


@lru_cache(maxsize=1)
def network(name: str) -> tuple[nn.Module, Tensor, Inventory]:
    torch.manual_seed(0)
    build, example_of = (NETWORKS | LIBRARY_NETWORKS)[name]
    model, example = build().eval(), example_of()
    return model, example, inventory(model, example)


def torchs_count(model: nn.Module, example: Tensor) -> int:
    """Count on the meta device, where torch has no fused operations for attention and recurrent layers."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        copy.deepcopy(model).to("meta")(example.to("meta"))
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return int(flops // 2)


@EVERY
def test_every_parameter_and_every_multiply_accumulate_is_accounted_for(name: str) -> None:
    model, example, found = network(name)
    assert sum(layer.size for layer in found.layers) + found.params_fixed == sum(p.numel() for p in model.parameters())
    assert {layer.parameter for layer in found.layers}.isdisjoint(found.fixed)
    assert {layer.parameter for layer in found.layers} | set(found.fixed) == {n for n, _ in model.named_parameters()}
    assert len({layer.name for layer in found.layers}) == len(found.layers)
    assert all(each.reason for each in found.fixed.values())
    counted = count(model, {}, example)
    assert counted.macs_kept - UNSEEN.get(name, 0) == torchs_count(model, example)


@EVERY
def test_pruning_keeps_the_budget_and_masks_hold_in_training(name: str) -> None:
    dense, example, _ = network(name)
    model = copy.deepcopy(dense)
    prunable = Weights(model, example)
    whole, fixed = count(model, {}, example), {n: model.get_parameter(n).clone() for n in network(name)[2].fixed}
    context = PruningContext(prunable)
    scores = CRITERIA["magnitude"](context)
    problem = Problem(context, scores, 0.9, "params")
    keep = allocate(POLICIES["uniform"], problem)
    masks = prunable.remove({part: top_units(scores[part], units) for part, units in keep.items()}).masks
    kept = count(model, masks, example)
    assert kept.params_kept == round(0.1 * whole.params_kept) == sum(keep.values())
    assert kept.macs_kept == prunable.cost(np.array(list(keep.values())), "macs") < whole.macs_kept
    assert all(torch.equal(model.get_parameter(n), values) for n, values in fixed.items())
    for part, units in scores.items():
        layer = next(layer for layer in prunable.layers if layer.name == part)
        before, after = (layer.of(net.get_parameter(layer.parameter)).detach().flatten() for net in (dense, model))
        assert torch.equal(units, before.abs())
        mask = layer.of(masks[layer.parameter]).flatten()
        assert torch.equal(after, before * mask)
        assert int(mask.sum()) == keep[part]
        assert units[mask].min() >= units[~mask].max()
    twin = copy.deepcopy(model)
    step(twin, example, masks)
    for parameter, mask in masks.items():
        assert not twin.get_parameter(parameter)[~mask].any()
    assert any((twin.get_parameter(n) != model.get_parameter(n)).any() for n in masks)


def step(model: nn.Module, example: Tensor, masks: Masks) -> None:
    """Take a step of training with momentum, as `train` does."""
    output = model(example)
    output = output["out"] if isinstance(output, dict) else output
    Updates(model, Recipe(lr=0.1, weight_decay=0.01), masks).step(output.square().mean())


def test_a_head_with_the_weight_of_an_embedding_is_fixed() -> None:
    _, _, found = network("language model")
    assert found.fixed["embed.weight"].reason == "a table of which rows are looked up, and shared with head"
    assert found.products["head"] == 12 * 40 * 16


def test_matrices_of_a_users_own_module_are_layers_where_activations_meet_them() -> None:
    _, _, found = network("own")
    assert {layer.name: (layer.shape, layer.positions) for layer in found.layers} == {
        "qkv": ((24, 8), 17),
        "heads": ((2, 8, 4), 17),
        "mix": ((6, 8, 8), 17),
        "patches": ((8, 3, 4, 4), 16),
        "attend.q_proj": ((6, 6), 17),
        "attend.k_proj": ((6, 8), 17),
        "attend.v_proj": ((6, 8), 17),
        "attend.out_proj": ((6, 6), 17),
    }
    assert {name: found.fixed[name].reason for name in ("place", "token", "gain", "table")} == {
        "place": "no product has it as its matrix",
        "token": "no product has it as its matrix",
        "gain": "no product has it as its matrix",
        "table": "a table of which rows are looked up",
    }
