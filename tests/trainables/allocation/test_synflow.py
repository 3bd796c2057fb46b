import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainables.problems import problem, quotas
from trainables.allocation import synflow
from trainables.allocation.budget import spend
from trainables.models import hub
from trainables.models.layers import weight_of
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Counts
from trainables.pruning.masks import Weights


def chain(*widths: int, gain: float = 1.0) -> Weights:
    """Make a chain of linear layers without biases."""
    torch.manual_seed(0)
    layers = [nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairwise(widths)]
    for layer in layers:
        layer.weight.data *= gain
    return Weights(nn.Sequential(*layers), torch.zeros(1, widths[0]))


def absolute(prunable: Weights) -> Weights:
    with torch.no_grad():
        for parameter in prunable.model.double().parameters():
            parameter.abs_()
    return prunable


def test_flow_is_a_weight_times_all_paths_through_it() -> None:
    prunable = absolute(chain(3, 4, 2))
    first, second = (weight_of(layer) for layer in prunable.model.children())
    scores = synflow.flow(prunable)
    torch.testing.assert_close(scores["0"].view(4, 3), first * second.sum(0)[:, None])
    torch.testing.assert_close(scores["1"].view(2, 4), second * first.sum(1))


def test_flow_is_the_same_through_every_layer() -> None:
    prunable = absolute(chain(5, 17, 3, 30, 4))
    sums = torch.stack([score.sum() for score in synflow.flow(prunable).values()])
    output = prunable.model(torch.ones(1, 5, dtype=torch.float64)).sum()
    torch.testing.assert_close(sums, output.expand(4))


def test_no_layer_collapses_at_99_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    prunable = chain(50, 200, 200, 200, 10)
    nothing = np.zeros(4, dtype=np.int64)  # no floors that keep a layer alive

    def kept() -> Counts:
        asked = problem(prunable, 0.99)
        return spend(synflow.synflow(asked), prunable, asked.total, "params", nothing)

    assert kept().min() > 0
    monkeypatch.setattr(synflow, "ROUNDS", 1)
    assert kept().min() == 0


@pytest.mark.parametrize("granularity", ["weight", "channel"])
def test_network_stays_as_it_is(granularity: GranularityName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synflow, "ROUNDS", 3)
    torch.manual_seed(0)
    model = hub.build("resnet20", 10, 1, width=0.25)
    model.get_parameter("head.weight").requires_grad_(False)
    before = copy.deepcopy(model)
    quotas("synflow", problem(view(model, granularity, torch.zeros(1, 1, 8, 8)), 0.8))
    state = model.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in before.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())
    assert all(module.training for module in model.modules())


def test_flow_beyond_float32_is_still_ranked() -> None:
    deep = chain(*[20] * 21, gain=1e3)
    sums = torch.stack([score.sum() for score in synflow.flow(absolute(copy.deepcopy(deep))).values()])
    assert sums.min() > torch.finfo(torch.float32).max
    keep = quotas("synflow", problem(deep, 0.5))
    assert keep.sum() == 20 * 200
    assert keep.min() > 20  # more than the floors


def test_flow_beyond_float64_is_refused() -> None:
    with pytest.raises(ValueError, match="policy 'synflow' must have a flow within the range of float64"):
        quotas("synflow", problem(chain(*[20] * 60, gain=1e6)))
