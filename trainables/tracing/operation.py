"""One call of a function of torch in a traced forward pass, and the rules that hold for most functions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from trainables.tracing.labels import Ids, Labels, Traced, combine, without


class Tracer(Protocol):
    """What rules need of the trace."""

    @property
    def labels(self) -> Labels:
        """The labels of the trace."""

    def of(self, tensor: Tensor) -> Traced:
        """Return what is known of a tensor."""

    def where(self, operation: str) -> str:
        """Name an operation and the module that computes it."""

    def norm(self, ids: Ids) -> bool:
        """Take note of a norm whose statistics are over these channels. False outside of modules that are norms."""

    def split(self, ids: Ids) -> None:
        """Take note of a dimension that is split. ids: the labels of its parts."""

    def summed(self, ids: Ids) -> None:
        """Take note of labels of a stored tensor over which a product sums."""


@dataclass(eq=False)
class Operation:
    """One call of a function of torch."""

    tracer: Tracer
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]
    inputs: list[Traced]  # all tensors among the arguments
    factors: Traced = field(
        default_factory=lambda: Traced(())
    )  # of a product: what its number of multiplications is of

    @property
    def labels(self) -> Labels:
        """The labels of the trace."""
        return self.tracer.labels

    @property
    def reason(self) -> str:
        """What holds labels here."""
        return self.tracer.where(self.name)

    @property
    def first(self) -> Traced:
        """The first argument."""
        return self.of(0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.outputs[0].shape)

    def of(self, at: int) -> Traced:
        """Return what is known of an argument that is a tensor."""
        return self.tracer.of(self.args[at])

    def arg(self, at: int, key: str, default: Any = None) -> Any:
        """Return an argument by position or name."""
        return self.args[at] if at < len(self.args) else self.kwargs.get(key, default)

    def hold(self, ids: Ids) -> None:
        """Hold labels for what this operation does."""
        self.labels.hold(ids, self.reason)

    def keep_whole(self, traced: Traced, dims: set[int]) -> Traced:
        """Hold the labels along some dimensions, and return the tensor without them."""
        out = Traced(traced.shape, {}, traced.stored)
        for at, ids in traced.entries.items():
            if rest := without(self.labels, ids, at, dims & set(at), self.reason):
                out.entries[rest[0]] = rest[1]
        return out

    def blank(self) -> list[Traced]:
        """Return the outputs without labels."""
        return [Traced(tuple(each.shape)) for each in self.outputs]

    def dims(self, at: int, key: str = "dim") -> set[int]:
        """Return an argument that lists dimensions, or names one. Without it, all dimensions of the first argument."""
        value, n = self.arg(at, key), len(self.first.shape)
        listed = [value] if isinstance(value, int) else list(value or range(n))
        return {dim % n for dim in listed} if n else set()


Rule = Callable[[Operation], list[Traced]]


def hold_all(op: Operation) -> list[Traced]:
    """Hold all labels: what the function does is not known."""
    for traced in op.inputs:
        for ids in traced.entries.values():
            op.hold(ids)
    return op.blank()


def elementwise(op: Operation) -> list[Traced]:
    """Unite labels of one position."""
    return [combine(op.labels, op.inputs, tuple(each.shape), op.reason) for each in op.outputs]


def same(op: Operation) -> list[Traced]:
    """Copy the labels of the first argument, whatever the others are."""
    return [Traced(op.first.shape, dict(op.first.entries), op.first.stored)]
