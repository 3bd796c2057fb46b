"""Losses of compensated allocations, against networks that are cut and compensated one by one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.trainables.allocation.test_capacity import GRANULARITIES, network, problem, samples
from trainables.allocation.budget import dense_counts, spend
from trainables.allocation.candidates import candidates
from trainables.allocation.capacity import STARTS, capacity
from trainables.allocation.plan import plan
from trainables.allocation.problem import Problem
from trainables.compensation.compensation import Targets, compensate
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Counts, top_units
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.task.distance import SCALES


def compensated_problem(model: nn.Module, granularity: GranularityName, recalibrated: bool = True) -> Problem:
    return replace(problem(model, granularity, recalibrated=recalibrated), compensated=True)


def compensated_copy(dense: nn.Module, posed: Problem, granularity: GranularityName, keep: Counts) -> nn.Module:
    """Prune a copy of the dense network as a trial does, and compensate it."""
    before, pruned = copy.deepcopy(dense).eval(), copy.deepcopy(dense).eval()
    prunable = view(pruned, granularity, torch.zeros(1, 1, 8, 8))
    counts = zip(prunable.parts, keep.tolist(), strict=True)
    cut = prunable.remove({part.name: top_units(posed.scores[part.name], units) for part, units in counts})
    compensate(pruned, Targets.read(before, samples().inputs, 0), cut, samples().inputs, posed.recalibrated)
    return pruned


def loss_of(pruned: nn.Module, dense: nn.Module, recalibrated: bool) -> float:
    for module in pruned.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(recalibrated)
    with torch.no_grad():
        expected = copy.deepcopy(dense).eval()(samples().inputs).log_softmax(1)
        logits: Tensor = pruned(samples().inputs)
    divergences = [
        F.kl_div((s * logits).log_softmax(1), expected, reduction="batchmean", log_target=True) for s in SCALES
    ]
    forgone = expected.exp().amax(1) - expected.exp().gather(1, logits.argmax(1, keepdim=True))[:, 0]
    return float(min(divergences) + forgone.mean())


@GRANULARITIES
@pytest.mark.parametrize("recalibrated", [True, False])
def test_the_loss_is_that_of_a_compensated_copy(granularity: GranularityName, recalibrated: bool) -> None:
    model = network()
    dense = copy.deepcopy(model)
    posed = compensated_problem(model, granularity, recalibrated)
    keep = np.maximum(dense_counts(posed.prunable) // 2, 2)
    tolerance = 1e-3 if granularity == "weight" else 0.05  # the pull counts the inputs that a cut network lacks
    with candidates(posed) as loss:
        expected = loss_of(compensated_copy(dense, posed, granularity, keep), dense, recalibrated)
        assert loss(keep) == pytest.approx(expected, rel=tolerance)
    assert all(torch.equal(tensor, dense.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_compensation_lowers_the_loss() -> None:
    posed = compensated_problem(network(), "weight")
    keep = dense_counts(posed.prunable) // 4
    with candidates(posed) as repaired, candidates(replace(posed, compensated=False)) as broken:
        assert repaired(keep) < 0.7 * broken(keep)


@GRANULARITIES
def test_around_an_allocation_only_what_differs_is_fitted_again(granularity: GranularityName) -> None:
    """Nothing runs behind the last layer, so a change there costs what a repair of the whole network leaves."""
    posed = compensated_problem(network(), granularity)
    units = dense_counts(posed.prunable)
    keep = np.maximum(units // 2, 2)
    with candidates(posed) as loss:
        for change in (0.5, 1.5):
            last, first = keep.copy(), keep.copy()
            last[-1] = round(change * keep[-1])
            first[0] = round(change * keep[0])
            of_last, of_first, of_none = loss.around(keep, [last, first, keep])
            assert of_none == pytest.approx(loss(keep), rel=1e-3)
            if granularity == "weight":  # the readers of the last channels are fitted together with what follows
                assert of_last == pytest.approx(loss(last), rel=1e-3)
            assert of_first != pytest.approx(of_none, rel=1e-3)


def test_frozen_layers_stay_masked_and_are_not_fitted() -> None:
    model = network()
    model.get_submodule("stem.conv").requires_grad_(False)
    dense = copy.deepcopy(model)
    posed = compensated_problem(model, "weight")
    keep = dense_counts(posed.prunable) // 2
    with candidates(posed) as loss:
        expected = loss_of(compensated_copy(dense, posed, "weight", keep), dense, True)
        assert loss(keep) == pytest.approx(expected, rel=1e-3)
        assert loss.around(keep, [keep])[0] == pytest.approx(expected, rel=1e-3)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in dense.parameters()]


@GRANULARITIES
def test_capacity_is_never_worse_than_what_it_starts_from(granularity: GranularityName) -> None:
    posed = compensated_problem(network(), granularity)
    keep = spend(capacity(posed), posed.prunable, posed.total, "params")
    starts = [spend(rule(posed), posed.prunable, posed.total, "params") for rule in STARTS]
    with candidates(posed) as loss:
        assert loss(keep) <= min(map(loss, starts))


def test_a_trial_that_compensates_is_measured_compensated() -> None:
    """Its cost: the dense network, five starts, twice the parts around the best one, and three steps."""
    spec = TrialSpec(sparsity=0.8, policy="capacity", calibration=64, finetune=Recipe(epochs=0))
    example, both = torch.zeros(1, 1, 8, 8), (spec, spec.model_copy(update={"compensate": True}))
    broken, repaired = (plan(network(), example, each, samples()) for each in both)
    assert broken.steps != repaired.steps
    evaluations = repaired.cost.evaluations
    assert evaluations is not None
    assert 1 + 5 < evaluations <= 1 + 5 + 1 + 2 * len(repaired.prunable.parts) + 3
