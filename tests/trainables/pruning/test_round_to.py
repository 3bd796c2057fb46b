import pytest
import torch
from torch import nn

from trainables.allocation.budget import total
from trainables.allocation.plan import plan
from trainables.catalog.checks import mismatches
from trainables.models import hub
from trainables.models.layers import count, prunable_layers
from trainables.pruning.granularities import view
from trainables.pruning_spec import Pruning
from trainables.spec import TrialSpec

EXAMPLE = torch.zeros(1, 3, 32, 32)
POLICIES = ("uniform", "erk", "igq", "lamp", "by-score", "random")


def widths(model: nn.Module) -> dict[str, int]:
    return {layer.name: layer.shape[0] for layer in prunable_layers(model, EXAMPLE)}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["resnet20", "vgg16", "mobilenet", "resnext50_32x4d"])
def test_every_width_is_a_multiple_or_whole_within_the_budget(name: str, policy: str) -> None:
    model = hub.build(name, 10, 3)
    dense = widths(model)
    spec = TrialSpec(
        granularity="channel", criterion="l1", policy=policy, budget="macs", sparsity=0.5, round_to=8, recalibrate=0
    )
    budget = total(view(model, "channel", EXAMPLE, 8), 0.5, "macs")
    plan(model, EXAMPLE, spec).carry_out()
    cut = widths(model)
    assert all(width % 8 == 0 or width == dense[layer] for layer, width in cut.items())
    assert cut != dense
    kept = count(model, {}, EXAMPLE).macs_kept
    assert 0.8 * budget < kept <= budget


def test_round_to_without_channels_is_refused() -> None:
    weights = TrialSpec(round_to=8)
    (complaint,) = mismatches(weights)
    assert complaint == "round_to must come with granularity 'channel', but got 'weight'; leave it out"
    first = Pruning(granularity="channel", criterion="l1", policy="uniform", sparsity=0.3)
    chained = weights.model_copy(update={"before": (first,)})
    assert mismatches(chained) == []


def test_a_budget_below_the_rounded_floors_is_refused_with_what_can_be_reached() -> None:
    model = hub.build("resnet20", 10, 3)
    with pytest.raises(ValueError, match=r"sparsity 0.95 leaves .* use a sparsity of at most 0\.\d+") as refused:
        total(view(model, "channel", EXAMPLE, 8), 0.95, "macs")
    reachable = float(str(refused.value).partition("at most ")[2].partition(";")[0])
    assert total(view(model, "channel", EXAMPLE, 8), reachable, "macs") > 0
