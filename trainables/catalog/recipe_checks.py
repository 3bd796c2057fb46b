"""Find mistakes in the recipes of a trial: their optimizer, their weights of classes, and records of mixed images."""

from trainables.names import DRAWN_AGAIN
from trainables.plugins import name_complaints
from trainables.recipe import Recipe
from trainables.spec import TrialSpec

OF_DENSE = (*DRAWN_AGAIN, "rewind")  # recoveries that follow the recipe of dense training


def complaints(spec: TrialSpec) -> list[str]:
    """List the optimizers that are unknown, the records that would be of mixed images, and weights that are all 0."""
    recipes = {"dense": spec.dense.recipe, "finetune": spec.finetune}
    followed = {"dense": "dense", "finetune": "dense" if spec.recovery in OF_DENSE else "finetune"}
    taken = {"dense": spec.dense.record, "finetune": spec.record}
    mixed = [
        f"records.{phase} must be 'after' or 'off' where {recipe}.mixup or {recipe}.cutmix mixes images, as a batch "
        f"then shows no sample alone, but got 'during'; set records.{phase}"
        for phase, recipe in followed.items()
        if taken[phase] == "during" and recipes[recipe].mixes
    ]
    nothing = [
        f"{name}.loss_weights must have a weight above 0, but got {list(recipe.loss_weights)}; raise one"
        for name, recipe in recipes.items()
        if recipe.loss_weights and recipe.loss_weights != "balanced" and not any(recipe.loss_weights)
    ]
    unknown = [problem for recipe in recipes.values() for problem in name_complaints("optimizer", recipe.optimizer)]
    return [*unknown, *mixed, *nothing]


def weight_complaints(spec: TrialSpec, classes: int) -> list[str]:
    """List the weights that are not one for each of the classes."""
    recipes: dict[str, Recipe] = {"dense": spec.dense.recipe, "finetune": spec.finetune}
    return [
        f"{name}.loss_weights must be a weight for each of the {classes} classes, but got {len(recipe.loss_weights)}; "
        "correct them, or set 'balanced'"
        for name, recipe in recipes.items()
        if recipe.loss_weights and recipe.loss_weights != "balanced" and len(recipe.loss_weights) != classes
    ]
