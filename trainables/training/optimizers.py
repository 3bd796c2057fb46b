"""Optimizers as torch has them, without the import of torch's compiler."""

import inspect
from typing import Any, TypeVar

import torch

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
