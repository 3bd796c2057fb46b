"""Residual sums: where the output of a layer, or of its batch norm, is added to another tensor."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.dispatch import OperationMode
from trainables.pruning.additions import IN_PLACE, is_addition

FLAT = 0.05  # least scale of a batch norm, as a share of its largest one, because the fit divides by it (ours)
Add = Callable[["End", Tensor], Tensor | None]  # what is added to a layer's end -> the sum; None: the plain sum


class End(NamedTuple):
    """The layer that has run last."""

    layer: str
    norm: _BatchNorm | None  # that has normalised its output
    output: Tensor  # of the layer, or of the norm


class Ends(OperationMode):
    """Follows, inside this context, which layer of a network has run last, and sees each sum with its output."""

    def __init__(self, network: nn.Module, add: Add) -> None:
        super().__init__()
        self.normalised: set[str] = set()  # layers whose output a batch norm reads
        self._last: End | None = None
        self._add = add
        self._hooks = ExitStack()
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                hook = module.register_forward_hook(lambda _m, _i, output, name=name: self._ran(name, output))
                self._hooks.callback(hook.remove)
            elif isinstance(module, _BatchNorm):
                self._hooks.callback(module.register_forward_hook(self._normalised).remove)

    def _ran(self, name: str, output: Tensor) -> None:
        self._last = End(name, None, output)

    def _normalised(self, module: _BatchNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._last and inputs[0] is self._last.output:
            self.normalised.add(self._last.layer)
            self._last = End(self._last.layer, module, output)

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._last and is_addition(func, args) and not kwargs:
            first, second = args
            other = second if first is self._last.output else first if second is self._last.output else None
            if other is not None and other.shape == self._last.output.shape:
                last, self._last = self._last, None
                if (total := self._add(last, other)) is not None:
                    return first.copy_(total) if func is IN_PLACE else total
        return func(*args, **(kwargs or {}))


class Sum(NamedTuple):
    """What is added to a layer's output before pruning."""

    other: Tensor  # (samples, outputs)
    scale: Tensor  # (outputs,) change of the layer's output that changes the sum by 1

    @classmethod
    def of(cls, end: End, other: Tensor) -> "Sum":
        """other: (samples, outputs)."""
        norm = end.norm
        if norm is None or norm.running_var is None:
            return cls(other, other.new_ones(other.shape[1]))
        slope = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight.detach()
        least = FLAT * slope.abs().max()
        slope = torch.where(slope < 0, slope.clamp(max=-least), slope.clamp(min=least))
        return cls(other, (norm.running_var + norm.eps).sqrt() / slope)

    def missing(self, other: Tensor) -> Tensor:
        """Return by how much a layer's output must change, so that its sum with `other` is what it was."""
        return (self.other - other) * self.scale

    def cut(self, kept: Tensor) -> "Sum":
        """Leave some outputs."""
        return Sum(self.other[:, kept], self.scale[kept])
