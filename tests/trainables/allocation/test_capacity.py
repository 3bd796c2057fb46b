import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.problems import linears
from tests.trainables.problems import problem as bare_problem
from trainables.allocation.budget import dense_counts, spend
from trainables.allocation.candidates import candidates
from trainables.allocation.capacity import STARTS, Floats, capacity, equalised, exchanged
from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.allocation.random_draws import random_best
from trainables.models import hub
from trainables.names import GranularityName
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Counts, top_units
from trainables.task.distance import SCALES

GRANULARITIES = pytest.mark.parametrize("granularity", ["weight", "channel"])


def network() -> nn.Module:
    torch.manual_seed(0)
    model = hub.build("resnet20", 10, 1, width=0.25)
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(32, 1, 8, 8))
    return model


def samples() -> Calibration:
    generator = torch.Generator().manual_seed(1)
    return Calibration((torch.randn(64, 1, 8, 8, generator=generator), torch.arange(64) % 10))


def problem(
    model: nn.Module, granularity: GranularityName, sparsity: float = 0.6, recalibrated: bool = True
) -> Problem:
    context = PruningContext(view(model, granularity, torch.zeros(1, 1, 8, 8)), 0, samples())
    criterion = CRITERIA["magnitude" if granularity == "weight" else "l1"]
    return Problem(context, criterion(context), sparsity, "params", recalibrated)


def logits_of_a_cut_copy(dense: nn.Module, posed: Problem, granularity: GranularityName, keep: Counts) -> Tensor:
    model = copy.deepcopy(dense).eval()
    prunable = view(model, granularity, torch.zeros(1, 1, 8, 8))
    counts = zip(prunable.parts, keep.tolist(), strict=True)
    prunable.remove({part.name: top_units(posed.scores[part.name], units) for part, units in counts})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(posed.recalibrated)
    with torch.no_grad():
        logits: Tensor = model(samples().inputs)
    return logits


@GRANULARITIES
@pytest.mark.parametrize("recalibrated", [True, False])
def test_the_loss_is_the_divergence_of_a_cut_copy(granularity: GranularityName, recalibrated: bool) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    posed = problem(model, granularity, recalibrated=recalibrated)
    units = dense_counts(posed.prunable)
    with torch.no_grad():
        dense = copy.deepcopy(model).eval()(samples().inputs).log_softmax(1)
    with candidates(posed) as loss:
        for keep in (np.maximum(units // 2, 2), np.maximum(units // 4, 2)):
            cut = logits_of_a_cut_copy(model_like(before), posed, granularity, keep)
            expected = min(
                float(F.kl_div((s * cut).log_softmax(1), dense, reduction="batchmean", log_target=True)) for s in SCALES
            )
            at, best = dense.exp(), dense.exp().max(1).values
            forgone = best - at[range(len(at)), cut.argmax(1)]
            assert loss(keep) == pytest.approx(expected + float(forgone.mean()), rel=1e-3, abs=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(module.momentum == 0.1 for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def model_like(state: dict[str, Tensor]) -> nn.Module:
    model = hub.build("resnet20", 10, 1, width=0.25)
    model.load_state_dict(state)
    return model


class PowerLaw(MeasuredLoss):
    """A loss that is a power of each part's units: an exponential of their logarithm, as the model assumes."""

    def __init__(self, amounts: Floats, exponents: Counts) -> None:
        self.amounts, self.exponents = amounts, exponents

    def __call__(self, keep: Counts) -> float:
        return float((self.amounts * keep ** -self.exponents.astype(float)).sum())


def test_equalised_finds_the_least_of_an_additive_loss() -> None:
    posed = bare_problem(linears(np.ones((1, 10_000)), np.ones((1, 10_000)), np.ones((1, 10_000))), 0.7)
    loss = PowerLaw(np.array([4.0, 1.0, 0.5]), np.array([1, 1, 1]))
    keep = equalised(posed, np.array([3000, 3000, 3000]), loss)
    shares = np.sqrt([4.0, 1.0, 0.5])  # a / k^2 is the same in all parts if k is proportional to the root of a
    np.testing.assert_allclose(keep / 9000, shares / shares.sum(), rtol=0.01)
    assert keep.sum() == 9000


def test_equalised_weighs_what_a_unit_costs() -> None:
    model = network()
    posed = replace(problem(model, "weight", 0.8), budget="macs")
    start = spend(STARTS[0](posed), posed.prunable, posed.total, "macs")
    prices = np.array([part.layers[0].positions for part in posed.prunable.parts])
    amounts = np.random.default_rng(0).uniform(0.5, 2.0, len(start)) * start
    better = equalised(posed, start, PowerLaw(amounts, np.ones(len(start), dtype=int)))
    assert posed.prunable.cost(better, "macs") <= posed.total
    at_the_least = better / np.sqrt(amounts / prices)  # a / k^2 over the price is the same in all parts
    free = (start > 100) & (better < dense_counts(posed.prunable))  # one unit of the small parts is too coarse
    np.testing.assert_allclose(at_the_least[free], at_the_least[free].mean(), rtol=0.05)


def test_exchanges_only_ever_gain() -> None:
    posed = bare_problem(linears(*[np.ones((1, 1000))] * 4), 0.6)
    loss = PowerLaw(np.array([8.0, 4.0, 2.0, 1.0]), np.array([1, 1, 1, 1]))
    start = np.array([400, 400, 400, 400])
    found = exchanged(posed, start, loss)
    shares = np.sqrt([8.0, 4.0, 2.0, 1.0])
    best = loss(1600 * shares / shares.sum())
    assert found.sum() == 1600
    assert loss(found) - best < 0.05 * (loss(start) - best)


@GRANULARITIES
def test_capacity_is_never_worse_than_what_it_starts_from(
    granularity: GranularityName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.allocation.capacity.EXCHANGES", 10)
    posed = problem(network(), granularity)
    keep = np.array(list(allocate(POLICIES["capacity"], posed).values()))
    images, wrong = samples().inputs, samples().content[1].flip(0)
    labels = replace(posed.context, calibration=Calibration((images, wrong)))
    assert keep.tolist() == list(allocate(POLICIES["capacity"], replace(posed, context=labels)).values())
    starts = [spend(rule(posed), posed.prunable, posed.total, "params") for rule in STARTS]
    with candidates(posed) as loss:
        assert loss(keep) < min(map(loss, starts))


def test_a_network_that_says_nothing_is_measured_as_if_recalibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.allocation.capacity.EXCHANGES", 3)
    as_it_is, recalibrated = (problem(network(), "weight", 0.9, recalibrated=r) for r in (False, True))
    monkeypatch.setattr("trainables.allocation.capacity.SPEECHLESS", 0.0)  # every network says nothing
    np.testing.assert_array_equal(capacity(as_it_is)(1.0), capacity(recalibrated)(1.0))
    monkeypatch.setattr("trainables.allocation.capacity.SPEECHLESS", np.inf)
    assert (capacity(as_it_is)(1.0) != capacity(recalibrated)(1.0)).any()


def test_random_best_is_the_best_of_its_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.allocation.random_draws.DRAWS", 5)
    posed = problem(network(), "weight")
    chosen = random_best(posed)(1.0)
    with candidates(posed) as loss:
        single = [
            spend(POLICIES["random"].path(replace(posed, context=replace(posed.context, seed=s))), posed.prunable,
                  posed.total, "params")
            for s in range(5)
        ]  # fmt: skip
        assert loss(chosen.astype(np.int64)) == min(map(loss, single))
