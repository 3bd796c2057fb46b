"""Losses of allocations after a short training, against copies that are cut and trained by torch alone."""

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
from trainables.allocation.capacity import STARTS, after_training, capacity
from trainables.allocation.plan import plan
from trainables.allocation.problem import Problem
from trainables.allocation.trained_loss import TrainedLoss
from trainables.compensation.compensation import Targets, compensate
from trainables.names import GranularityName
from trainables.pruning.granularities import view
from trainables.pruning.granularity import Counts, top_units
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.training.short_training import STEPS

RECIPE = Recipe(epochs=3, lr=0.02, batch_size=16, weight_decay=0.01)


def trained_problem(model: nn.Module, granularity: GranularityName = "weight") -> Problem:
    return replace(problem(model, granularity), training=RECIPE)


def losses_of_a_copy(dense: nn.Module, posed: Problem, granularity: GranularityName, keep: Counts) -> list[float]:
    """Prune a copy as a trial does, and train it: passes through the samples until the steps are done."""
    before, model = copy.deepcopy(dense).eval(), copy.deepcopy(dense).eval()
    images = samples().inputs
    prunable = view(model, granularity, torch.zeros(1, 1, 8, 8))
    counts = zip(prunable.parts, keep.tolist(), strict=True)
    cut = prunable.remove({part.name: top_units(posed.scores[part.name], units) for part, units in counts})
    if posed.compensated:
        compensate(model, Targets.read(before, images, 0), cut, images)
    optimizer = torch.optim.SGD(model.parameters(), RECIPE.lr, RECIPE.momentum, weight_decay=RECIPE.weight_decay)
    expected: Tensor = before(images).softmax(1).detach()
    draw = torch.Generator().manual_seed(0)
    losses = []
    model.train()
    for _ in range(STEPS // 4):
        for batch in torch.randperm(64, generator=draw).split(16):
            loss = F.kl_div(model(images[batch]).log_softmax(1), expected[batch], reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, mask in cut.masks.items():
                with torch.no_grad():
                    model.get_parameter(name).mul_(mask)
            losses.append(loss.item())
    return losses


@GRANULARITIES
@pytest.mark.parametrize("compensated", [False, True])
def test_the_loss_is_the_mean_over_the_steps_of_a_trained_copy(granularity: GranularityName, compensated: bool) -> None:
    model = network()
    dense = copy.deepcopy(model)
    posed = replace(trained_problem(model, granularity), compensated=compensated)
    keep = np.maximum(dense_counts(posed.prunable) // 3, 2)
    losses = losses_of_a_copy(dense, posed, granularity, keep)
    assert len(losses) == STEPS
    with candidates(posed) as untrained:
        trained = TrainedLoss(posed, untrained, RECIPE)
        # the pull of a fit differs between masked and cut layers
        assert trained(keep) == pytest.approx(np.mean(losses), rel=0.05 if compensated else 2e-3)
    assert all(torch.equal(tensor, dense.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_pruned_stays_zero_and_what_is_frozen_stays_as_it_is() -> None:
    model = network()
    model.get_submodule("stem.conv").requires_grad_(False)
    stem = model.get_submodule("stem.conv").get_parameter("weight").clone()
    posed = trained_problem(model)
    keep = dense_counts(posed.prunable) // 4
    with candidates(posed) as untrained:
        TrainedLoss(posed, untrained, RECIPE)(keep)
        of_parts = [model.get_submodule(part.name).get_parameter("weight") for part in posed.prunable.parts]
        assert [int(weight.count_nonzero()) for weight in of_parts] == keep.tolist()
        pruned = model.get_submodule("stem.conv").get_parameter("weight")
        assert torch.equal(pruned, stem * (pruned != 0))
    assert torch.equal(model.get_submodule("stem.conv").get_parameter("weight"), stem)


def test_a_training_that_diverges_is_the_worst() -> None:
    posed = trained_problem(network())
    keep = dense_counts(posed.prunable) // 4
    with candidates(posed) as untrained:
        assert TrainedLoss(posed, untrained, RECIPE.model_copy(update={"lr": 1e30}))(keep) == np.inf


def test_a_training_is_given_up_where_its_mean_must_exceed_a_limit() -> None:
    """A limit above the loss changes nothing; half of the loss is exceeded before the last of the five passes."""
    posed = trained_problem(network())
    keep = dense_counts(posed.prunable) // 4
    with candidates(posed) as untrained:
        whole = TrainedLoss(posed, untrained, RECIPE)(keep)
        before = posed.context.samples.evaluations
        assert TrainedLoss(posed, untrained, RECIPE)(keep, 1.01 * whole) == whole
        passes = posed.context.samples.evaluations - before
        assert TrainedLoss(posed, untrained, RECIPE)(keep, whole / 2) == np.inf
        assert posed.context.samples.evaluations - before < 2 * passes


def test_giving_up_changes_no_choice() -> None:
    class Whole(TrainedLoss):
        def __call__(self, keep: Counts, most: float = np.inf) -> float:
            return super().__call__(keep)

    posed = trained_problem(network())
    starts = [spend(rule(posed), posed.prunable, posed.total, "params") for rule in STARTS]
    with candidates(posed) as untrained:
        for order in (starts, starts[::-1]):
            found = [after_training(posed, order, kind(posed, untrained, RECIPE)) for kind in (TrainedLoss, Whole)]
            assert found[0].tolist() == found[1].tolist()


@GRANULARITIES
def test_capacity_of_a_trial_that_trains_is_never_worse_than_what_it_starts_from(granularity: GranularityName) -> None:
    posed = replace(trained_problem(network(), granularity), compensated=True)
    keep = spend(capacity(posed), posed.prunable, posed.total, "params")
    starts = [spend(rule(posed), posed.prunable, posed.total, "params") for rule in STARTS]
    with candidates(posed) as untrained:
        trained = TrainedLoss(posed, untrained, RECIPE)
        assert trained(keep) <= min(map(trained, starts))


@pytest.mark.parametrize(
    ("update", "trains"),
    [
        ({"finetune": RECIPE}, True),
        ({"finetune": RECIPE, "recovery": "distill"}, True),
        ({"finetune": RECIPE, "recovery": "rewind"}, True),
        ({"finetune": RECIPE, "recovery": "scratch"}, False),
        ({"finetune": RECIPE.model_copy(update={"epochs": 0})}, False),
    ],
)
def test_a_trial_trains_what_it_keeps_unless_weights_are_drawn_anew(update: dict[str, object], trains: bool) -> None:
    assert TrialSpec().model_copy(update=update).trains_kept_weights == trains


def test_a_trial_that_trains_pays_for_short_trainings() -> None:
    """With 64 samples and batches of 16, 20 steps take five passes after the one that compensates, for 8 candidates.

    The first two trainings cannot be given up, and the others after one pass at the earliest.
    """
    spec = TrialSpec(sparsity=0.8, policy="capacity", calibration=64, compensate=True, finetune=RECIPE)
    untrained = spec.model_copy(update={"finetune": Recipe(epochs=0)})
    paid, without = (plan(network(), torch.zeros(1, 1, 8, 8), s, samples()).cost.evaluations for s in (spec, untrained))
    assert paid is not None
    assert without is not None
    assert 2 * 6 + 6 * 2 <= paid - without <= 8 * 6
