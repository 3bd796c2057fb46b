"""Schedules of the learning rate by name, each with a warm-up."""

import math
from collections.abc import Callable, Mapping

from trainables.recipe import Recipe

MILESTONES = (0.5, 0.75)  # of the training; there the learning rate falls to a tenth (He et al., arXiv 1512.03385)

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    # fraction of the training that is done, in [0, 1] -> factor on the learning rate
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "linear": lambda done: 1.0 - done,
    "step": lambda done: 0.1 ** sum(done + 1e-9 >= milestone for milestone in MILESTONES),
    "constant": lambda done: 1.0,
}


def factor(recipe: Recipe, done: float) -> float:
    """Compute the factor on a recipe's learning rate.

    done: fraction of the recipe's training that is done, in [0, 1]. The factor rises from 0 to 1 in a line over the
    epochs of warm-up. The schedule takes the rest of the training.
    """
    warm = recipe.warmup / recipe.epochs if recipe.epochs else 0.0
    if done < warm:
        return done / warm
    return SCHEDULES[recipe.schedule]((done - warm) / (1.0 - warm) if warm < 1.0 else 1.0)
