"""The contract of every network: pruned to its budget, saved, and read back the same."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, vgg

from tests.trainables.conftest import as_if_trained, assert_same
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.checkpoints.checkpoint import Architecture, load, rebuild, save
from trainables.models.layers import count
from trainables.names import GranularityName
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import top_units
from trainables.spec import BudgetKind
from trainables.storage.folder import Folder

CUT = [  # the project's own; torchvision's; torchvision's with grouped convolutions
    *("vgg16", "resnet20", "resnet56", "mobilenet", "small_cnn"),
    *("resnet18", "resnet50", f"{__name__}:vgg16_bn", "mobilenet_v2", "densenet121", "efficientnet_b0"),
    *("convnext_tiny", f"{__name__}:vit_b_16", "resnext50_32x4d", "regnet_y_400mf"),
    *("shufflenet_v2_x0_5", "swin_t"),
]
WIDTHS = {"vgg16": 0.25, "resnet20": 0.5, "resnet56": 0.5, "mobilenet": 0.25}
SIDES = {"resnet20": 8, "resnet56": 8, "small_cnn": 8, f"{__name__}:vit_b_16": 224}
BUDGETS: tuple[tuple[float, BudgetKind], ...] = ((0.5, "params"), (0.9, "macs"))


def vgg16_bn(num_classes: int, in_channels: int) -> nn.Module:
    """torchvision's without the 119 million weights of its hidden linear layers, which would take most of the time."""
    features = vgg.make_layers(vgg.cfgs["D"], batch_norm=True)
    hidden = (nn.Linear(512 * 7 * 7, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, num_classes))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *hidden)


def vit_b_16(num_classes: int, in_channels: int) -> Any:
    """torchvision's with two of its twelve equal blocks."""
    return VisionTransformer(224, 16, num_layers=2, num_heads=12, hidden_dim=768, mlp_dim=3072, num_classes=num_classes)


def architecture(name: str) -> Architecture:
    side = SIDES.get(name, 32)
    return Architecture(model=name, width=WIDTHS.get(name, 1.0), classes=10, image=(3, side, side))


@lru_cache(maxsize=1)
def dense(name: str) -> nn.Module:
    torch.manual_seed(0)
    return as_if_trained(architecture(name).build())


@pytest.mark.parametrize("granularity", ["weight", "channel"])
@pytest.mark.parametrize("name", CUT)
def test_network_is_pruned_to_its_budget_and_read_back(name: str, granularity: GranularityName, tmp_path: Path) -> None:
    built, model = architecture(name), dense(name)
    whole = view(model, granularity, built.example())
    image = torch.randn(1, *built.image)
    with torch.no_grad():
        logits = model(image)
    scores = CRITERIA["l1" if granularity == "channel" else "magnitude"](PruningContext(whole))
    for sparsity, kind in BUDGETS:
        problem = Problem(PruningContext(whole), scores, sparsity, kind)
        counts = allocate(POLICIES["uniform"], problem)
        cost = whole.cost(np.array(list(counts.values())), kind)
        assert cost <= problem.total
        if granularity == "weight" and sparsity == 0.5:
            continue  # masks are the same work at any sparsity
        kept_units = {part: top_units(scores[part], units) for part, units in counts.items()}
        silenced, pruned = copy.deepcopy(whole), copy.deepcopy(whole)
        silenced.mask(kept_units)
        after = count(pruned.model, pruned.remove(kept_units).masks, built.example())
        assert (after.params_kept if kind == "params" else after.macs_kept) == cost
        save(Folder.at(str(tmp_path)), {"network": pruned.model.state_dict()}, {})
        again = rebuild(built.cut_as(pruned.model), load(Folder.at(str(tmp_path))).tensors["network"]).eval()
        with torch.no_grad():
            got, expected = pruned.model(image), silenced.model(image)
            assert torch.equal(again(image), got)
        assert_same(got, expected)
        assert (logits - expected).abs().max() > 1e-3 * expected.abs().max()
