"""Optimizers by name, as torch has them, without the import of torch's compiler."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from trainables.own_function import is_external
from trainables.plugins import load
from trainables.recipe import Recipe

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)


def eager(kind: type[Kind]) -> type[Kind]:
    """Derive a class that computes the same as `kind`, to the bit, and cannot be compiled or differentiated.

    Torch wraps these methods for torch.compile. The first call of a wrapper imports torch._dynamo, which takes every
    new worker more than a second.
    """
    methods: dict[str, Any] = {
        name: inspect.unwrap(getattr(kind, name)) for name in ("step", "zero_grad", "add_param_group")
    }
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)


SGD = eager(torch.optim.SGD)
AdamW = eager(torch.optim.AdamW)


def sgd(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build stochastic gradient descent with momentum, or with Nesterov's momentum."""
    return SGD(
        model.parameters(),
        recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        foreach=True,
    )


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build AdamW (arXiv 1711.05101). The recipe's momentum is beta1; beta2 is 0.999."""
    betas = (recipe.momentum, 0.999)
    return AdamW(model.parameters(), recipe.lr, betas=betas, weight_decay=recipe.weight_decay, foreach=True)


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Build the optimizer of a recipe, or call the user's own function. Raises ValueError as `plugins.load`.

    A function gets the recipe and the parameters with their names, a list of pairs, as torch's optimizers take them.
    """
    if not is_external(recipe.optimizer):
        return OPTIMIZERS[recipe.optimizer](model, recipe)
    built: torch.optim.Optimizer = load("optimizer", recipe.optimizer)(list(model.named_parameters()), recipe)
    return built


OPTIMIZERS: Mapping[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}
