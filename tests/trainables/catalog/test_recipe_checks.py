"""Recipes that cannot be followed are refused before anything trains."""

from typing import Any

import pytest

from trainables.catalog.checks import conflicts
from trainables.catalog.feasibility import unreachable
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec

MIXES, PLAIN = Recipe(mixup=0.2), Recipe()
OFF = DenseSpec(record="off")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"dense": DenseSpec(recipe=MIXES)}, "records.dense must be 'after' or 'off' where dense.mixup"),
        ({"dense": OFF, "finetune": MIXES, "record": "during"}, "records.finetune must be 'after' or 'off' where fin"),
        (
            {"dense": OFF.model_copy(update={"recipe": MIXES}), "recovery": "scratch", "record": "during"},
            "records.finetune must be 'after' or 'off' where dense.mixup",
        ),
        ({"finetune": Recipe(loss_weights=(0.0, 0.0))}, "finetune.loss_weights must have a weight above 0"),
    ],
)
def test_what_no_training_can_follow_is_refused(settings: dict[str, Any], complaint: str) -> None:
    found = conflicts(TrialSpec().model_copy(update=settings))
    assert [line.startswith(complaint) for line in found] == [True], found


@pytest.mark.parametrize(
    "settings",
    [
        {"dense": DenseSpec(recipe=MIXES, record="after")},
        {"dense": OFF, "finetune": MIXES, "record": "after"},
        {"finetune": MIXES, "recovery": "scratch", "record": "during"},  # follows the recipe of dense training
        {"finetune": Recipe(loss_weights=(0.0, 1.0))},
    ],
)
def test_what_a_training_can_follow_is_not(settings: dict[str, Any]) -> None:
    assert not conflicts(TrialSpec().model_copy(update=settings))


def test_weights_must_be_one_a_class() -> None:
    wrong, right = (TrialSpec(finetune=Recipe(loss_weights=(1.0,) * count)) for count in (3, 10))
    assert unreachable([wrong]) == [
        "finetune.loss_weights must be a weight for each of the 10 classes, but got 3; correct them, or set 'balanced'"
    ]
    assert unreachable([right]) == []
