import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from trainables.models import hub
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.layers import weight_of
from trainables.pruning.views import view
from trainables.spec import GranularityName

torch.set_num_threads(1)


def pairings() -> Iterator[tuple[str, GranularityName]]:
    for name, criterion in CRITERIA.items():
        for granularity in criterion.granularities:
            yield name, granularity


def trained(name: str) -> nn.Module:
    """A network with statistics of its own, half of it frozen, in training mode."""
    torch.manual_seed(0)
    model = hub.build(name, 10, 1, width=0.5)
    with torch.no_grad():
        model(torch.randn(16, 1, 8, 8))
    for p in list(model.parameters())[::2]:
        p.requires_grad_(False)
    return model


@pytest.mark.parametrize("model_name", ["small_cnn", "resnet20"])
@pytest.mark.parametrize(("name", "granularity"), list(pairings()))
def test_every_criterion_scores_each_unit_and_leaves_the_model_alone(
    name: str, granularity: GranularityName, model_name: str
) -> None:
    model = trained(model_name)
    before = copy.deepcopy(model)
    example = torch.randn(1, 1, 8, 8)
    prunable = view(model, granularity, example)
    first, again = (CRITERIA[name].score(prunable, 3) for _ in range(2))
    assert {part.name: (part.units,) for part in prunable.parts} == {n: tuple(s.shape) for n, s in first.items()}
    for part in first:
        assert first[part].isfinite().all()
        assert torch.equal(first[part], again[part])
        assert not first[part].requires_grad
    state = model.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in before.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_random_scores_differ_between_seeds_and_parts(granularity: GranularityName) -> None:
    prunable = view(trained("resnet20"), granularity, torch.zeros(1, 1, 8, 8))
    one, other = (CRITERIA["random"].score(prunable, seed) for seed in (0, 1))
    assert not any(torch.equal(one[name], other[name]) for name in one)
    assert len({tuple(scores[:4].tolist()) for scores in one.values()}) == len(one)


def test_magnitude_is_that_of_each_weight() -> None:
    model = trained("small_cnn")
    scores = CRITERIA["magnitude"].score(view(model, "weight", torch.zeros(1, 1, 8, 8)), 0)
    assert torch.equal(scores["block2.conv"], weight_of(model.get_submodule("block2.conv")).abs().flatten())


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_channel_norms_count_the_filters_of_every_coupled_layer(name: str, power: int) -> None:
    model = trained("resnet20")
    scores = CRITERIA[name].score(view(model, "channel", torch.zeros(1, 1, 8, 8)), 0)
    writers = ["block3_1.conv2", "block3_2.conv2", "block3_3.conv2"]  # all that is added up in the last stage
    filters = torch.cat([weight_of(model.get_submodule(w)).detach().flatten(1) for w in writers], 1)
    stage = next(scores[w] for w in writers if w in scores)
    torch.testing.assert_close(stage, (filters.abs() ** power).sum(1) ** (1 / power))
    inner = weight_of(model.get_submodule("block3_2.conv1")).detach().flatten(1)
    torch.testing.assert_close(scores["block3_2.conv1"], (inner.abs() ** power).sum(1) ** (1 / power))
