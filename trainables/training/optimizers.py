"""Optimizers by name, as torch has them, without the import of torch's compiler."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

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


OPTIMIZERS: Mapping[str, Callable[[nn.Module, Recipe], torch.optim.Optimizer]] = {"sgd": sgd, "adamw": adamw}
