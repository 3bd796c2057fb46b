"""Recipes: optimizers, learning rates, clipping, smoothing and averages, against plain loops of torch."""

import copy
import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.trainables.training.test_train import BUILT, CPU, network
from tests.trainables.trials import SPECS, assert_identical, newest, without_times
from trainables.data import sources
from trainables.data.batches import Resident, train_batches
from trainables.data.splits import Splits
from trainables.data_spec import DataSpec
from trainables.recipe import Recipe
from trainables.spec import EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.fit import fit
from trainables.training.learning_rate import factor
from trainables.training.record import TrainingRecord
from trainables.training.saves import State, resume
from trainables.training.train import TrainingPlan, to_device, train
from trainables.training.updates import Updates
from trainables.trial.trainable import run_trial

EVERYTHING: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 50,
    "lr": 0.01,
    "warmup": 1,
    "label_smoothing": 0.1,
    "grad_clip": 0.5,
    "ema": 0.9,
}
RECIPES = [
    Recipe(**EVERYTHING, optimizer="adamw", weight_decay=0.1, schedule="linear"),
    Recipe(**EVERYTHING, optimizer="sgd", nesterov=True, schedule="step"),
]
EVERY = pytest.mark.parametrize("recipe", RECIPES, ids=["adamw", "sgd"])
MIXES = Recipe(epochs=3, batch_size=50, mixup=0.2, cutmix=1.0, loss_weights="balanced")
RESUMED = pytest.mark.parametrize("recipe", [*RECIPES, MIXES], ids=["adamw", "sgd", "mixes"])


@pytest.fixture(scope="module")
def few() -> Splits:
    return sources.load(DataSpec(max_train=180, max_val=77))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("step", [0.5, 1.0, 1.0, 0.1, 0.01, 0.01]),
        ("cosine", [0.5, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
    ],
)
def test_the_schedule_has_the_epochs_after_the_warm_up(schedule: str, factors: list[float]) -> None:
    """Of ten epochs, two warm up: after 1, 2, 4, 6, 8 and 10 epochs."""
    recipe = Recipe.model_validate({"epochs": 10, "warmup": 2, "schedule": schedule})
    assert [factor(recipe, epoch / 10) for epoch in (1, 2, 4, 6, 8, 10)] == pytest.approx(factors)
    assert factor(recipe, 0.0) == 0.0
    assert factor(recipe.model_copy(update={"warmup": 0.0}), 0.0) == 1.0


@EVERY
def test_training_is_what_torch_does_by_hand(recipe: Recipe, few: Splits) -> None:
    data, model, reference = Resident(few.train, few, CPU), network(), network()
    average = copy.deepcopy(reference)
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(reference.parameters(), 0.01, weight_decay=0.1)
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(reference.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    warm, steps, count = 4, 12, 0
    for epoch in range(3):
        for batch in train_batches(data, 50, "none", 7 * 1_000_003 + epoch):
            left = (count - warm) / (steps - warm)
            falls = 1 - left if recipe.schedule == "linear" else 0.1 ** ((left >= 0.5) + (left >= 0.75))
            optimizer.param_groups[0]["lr"] = 0.01 * (count / warm if count < warm else falls)
            targets = 0.9 * nn.functional.one_hot(batch.labels, 10) + 0.1 / 10
            loss = -(targets * reference(batch.inputs).log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            norm = sum(p.grad.square().sum() for p in reference.parameters() if p.grad is not None) ** 0.5
            for p in reference.parameters():
                assert p.grad is not None
                p.grad *= min(1.0, 0.5 / (float(norm) + 1e-6))
            optimizer.step()
            count += 1
            decay = min(0.9, (1 + count) / (10 + count))
            with torch.no_grad():
                for mean, tensor in zip(floats(average), floats(reference), strict=True):
                    mean.copy_(decay * mean + (1 - decay) * tensor)
    list(train(model, data, TrainingPlan(recipe, seed=7)))
    for ours, expected in zip(floats(model), floats(average), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def floats(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


@RESUMED
def test_a_training_that_stops_goes_on_to_the_same_weights(recipe: Recipe, few: Splits, tmp_path: Path) -> None:
    data = (Resident(few.train, few, CPU), Resident(few.val, few, CPU))
    start = [EpochReport(epoch=0, val_accuracy=0.1, val_loss=2.3, seconds=0.0)]

    def fresh() -> State[TrainingRecord]:
        return State(to_device(network(), CPU), TrainingRecord(architecture=BUILT), start.copy())

    whole = fresh()
    list(fit(whole, data, TrainingPlan(recipe), Folder.at(str(tmp_path / "whole"))))
    broken, folder = fresh(), Folder.at(str(tmp_path / "broken"))
    list(islice(fit(broken, data, TrainingPlan(recipe), folder), 1))
    again = resume(folder, TrainingRecord, "small_cnn", CPU)
    assert again is not None
    list(fit(again, data, TrainingPlan(recipe), folder))
    assert without_times(again.history) == without_times(whole.history)
    for ours, expected in zip(floats(again.model), floats(whole.model), strict=True):
        assert torch.equal(ours, expected)


@SPECS
@RESUMED
def test_a_trial_recovers_by_any_recipe(
    spec: TrialSpec, recipe: Recipe, splits: Splits, storage: Folder, tmp_path: Path
) -> None:
    spec = spec.model_copy(update={"finetune": recipe})
    whole, broken = Folder.at(str(tmp_path / "whole")), Folder.at(str(tmp_path / "broken"))
    reports = list(run_trial(spec, splits, storage, whole, CPU))
    list(islice(run_trial(spec, splits, storage, broken, CPU), 2))
    assert without_times(list(run_trial(spec, splits, storage, broken, CPU))) == without_times(reports)
    assert_identical(newest(broken), newest(whole))


def test_masked_weights_stay_zero_in_the_average_too() -> None:
    model = network()
    mask = torch.rand_like(model.get_parameter("head.weight")) < 0.5
    with torch.no_grad():
        model.get_parameter("head.weight").mul_(mask)
    updates = Updates(model, RECIPES[0], {"head.weight": mask})
    updates.set_progress(0.5)
    for _ in range(3):
        with updates.training():
            updates.step(model(torch.randn(4, 1, 8, 8)).square().mean())
    assert torch.equal(model.get_parameter("head.weight") != 0, mask)
    assert updates.memory()["trained:head.weight"].count_nonzero() == mask.sum()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamw", "nesterov": True}, "nesterov needs optimizer 'sgd'"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs"),
        ({"epochs": 2, "warmup": 2}, "warmup must be shorter than the training, but got 2 of 2 epochs"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(settings)
