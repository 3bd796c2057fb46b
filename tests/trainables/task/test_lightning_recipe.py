"""A recipe of a Lightning module takes the steps of its optimizer and its schedule."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedules

from trainables.recipe import Recipe
from trainables.task.adapters.lightning_recipe import one_of_each, recipe_of
from trainables.training.learning_rate import factor
from trainables.training.updates import Updates


class Optimised(nn.Module):
    """A network and what `configure_optimizers` returns for it."""

    def __init__(self, build: Any) -> None:
        super().__init__()
        self.layer, self._build = nn.Linear(2, 2), build

    def configure_optimizers(self) -> Any:
        return self._build(self.parameters())


def sgd(parameters: Any, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, **settings)


def scheduled(kind: Any, *settings: Any, **named: Any) -> Any:
    def build(parameters: Any) -> Any:
        optimizer = sgd(parameters, momentum=0.9)
        return [optimizer], [{"scheduler": kind(optimizer, *settings, **named)}]

    return build


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (sgd, {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}),
        (
            lambda p: {"optimizer": sgd(p, momentum=0.8, nesterov=True, weight_decay=0.01)},
            {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        ),
        (lambda p: torch.optim.AdamW(p, 0.01, (0.8, 0.999)), {"optimizer": "adamw", "momentum": 0.8, "lr": 0.01}),
        (lambda p: [torch.optim.Adam(p, 0.01)], {"optimizer": "adamw", "weight_decay": 0.0}),
        (scheduled(schedules.CosineAnnealingLR, 8), {"schedule": "cosine", "lr": 0.1}),
        (scheduled(schedules.LinearLR, 1.0, 0.0, 8), {"schedule": "linear", "lr": 0.1}),
        (scheduled(schedules.MultiStepLR, [4, 6]), {"schedule": "step", "lr": 0.1}),
    ],
)
def test_a_recipe_takes_the_same_steps_as_the_optimizer(build: Any, expected: dict[str, Any]) -> None:
    module = Optimised(build)
    settings = recipe_of(module, epochs=8, batch_size=32)
    assert settings.items() >= {**expected, "epochs": 8, "batch_size": 32}.items()
    recipe = Recipe.model_validate(settings)
    optimizer, plan = one_of_each(module)
    other = Optimised(build)
    other.load_state_dict(module.state_dict())
    updates = Updates(other, recipe)
    for epoch in range(8):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(recipe.lr * factor(recipe, epoch / 8), abs=1e-8)
        updates.set_progress(epoch / 8)
        updates.step(other.layer(torch.ones(3, 2)).square().sum())
        optimizer.zero_grad()
        module.layer(torch.ones(3, 2)).square().sum().backward()
        optimizer.step()
        if plan:
            plan.step()
        torch.testing.assert_close(module.layer.weight, other.layer.weight)


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda p: torch.optim.RMSprop(p), "RMSprop"),
        (lambda p: torch.optim.Adam(p, weight_decay=0.1), "Adam with weight decay in its gradient"),
        (lambda p: torch.optim.AdamW(p, amsgrad=True), "AdamW of other settings"),
        (lambda p: sgd(p, momentum=0.9, dampening=0.1), "SGD with dampening"),
        (lambda p: sgd([{"params": list(p)[:1]}, {"params": list(p)[1:], "lr": 0.2}]), "2 groups of parameters"),
        (lambda p: None, "a NoneType"),
        (scheduled(schedules.CosineAnnealingLR, 7), "CosineAnnealingLR of these settings, for 8 epochs"),
        (scheduled(schedules.ReduceLROnPlateau), "ReduceLROnPlateau of these settings"),
        (lambda p: ([sgd([*p])] * 2, []), "2 optimizers and 0 schedules"),
        (
            lambda p: {"optimizer": sgd(p), "lr_scheduler": {"scheduler": None, "interval": "step"}},
            "a schedule of steps",
        ),
    ],
)
def test_an_optimizer_or_a_schedule_that_no_recipe_has_is_named(build: Any, found: str) -> None:
    with pytest.raises(ValueError, match="configure_optimizers must return what a recipe has") as raised:
        recipe_of(Optimised(build), epochs=8, batch_size=32)
    assert f"but returns {found}" in str(raised.value)
