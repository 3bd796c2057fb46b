"""The additions of a forward pass, in the order of the run: where residual streams can be read, or kept as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from trainables.models.dispatch import OperationMode

IN_PLACE = torch.ops.aten.add_.Tensor
See = Callable[[int, tuple[Tensor, Tensor], Tensor], object]  # number of an addition, its operands, its result


@dataclass(frozen=True)
class Stream:
    """A tensor of a residual stream: the result of an addition, or one of its operands."""

    addition: int  # counts from 0 in each forward pass
    operand: int | None  # 0 or 1; None: the result
    images: int  # dimension of the images; one image may have several entries there, one after the other
    channels: int  # dimension of the channels

    def pooled(self, operands: tuple[Tensor, Tensor], result: Tensor, images: int) -> Tensor:
        """Average over all dimensions but those of the images and the channels: (images, channels)."""
        tensor = result if self.operand is None else operands[self.operand]
        return (
            tensor.movedim((self.images, self.channels), (0, -1))
            .reshape(images, -1, tensor.shape[self.channels])
            .mean(1)
        )


def is_addition(func: Any, args: Sequence[Any]) -> bool:
    """Tell whether an operation adds two tensors with the same number of dimensions.

    The addition of a bias, a vector, does not count: the batch decides whether a linear layer adds it in an operation
    of its own, and additions must have the same numbers for all batches.
    """
    is_sum = func in (torch.ops.aten.add.Tensor, IN_PLACE) and all(isinstance(arg, Tensor) for arg in args)
    return is_sum and args[0].dim() == args[1].dim()


class Additions(OperationMode):
    """Sees each addition of one forward pass inside this context."""

    def __init__(self, see: See = lambda *_: None, kept: Mapping[int, int] = MappingProxyType({})) -> None:
        """kept: number of an addition -> index of the operand that it returns instead of the sum."""
        super().__init__()
        self._see, self._kept, self._number = see, kept, count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation of torch."""
        if not is_addition(func, args):
            return func(*args, **kwargs or {})
        number, operands = next(self._number), tuple(args)
        if number in self._kept:
            operand = args[self._kept[number]]
            return args[0].copy_(operand) if func is IN_PLACE else operand.clone()
        result = func(*args, **kwargs or {})
        self._see(number, operands, result)
        return result
