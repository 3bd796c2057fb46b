"""Which operations of a forward pass need the results of which other ones, and in which modules they run."""

from dataclasses import dataclass, field
from itertools import accumulate, count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from trainables.arguments import Arguments, call
from trainables.models.dispatch import OperationMode
from trainables.models.modes import eval_mode, tensors, watched_modules
from trainables.models.usage import unfused
from trainables.pruning.additions import is_addition


@dataclass(eq=False)
class Operation:
    """An operation of torch; or a tensor that no operation has computed, such as a parameter or the images."""

    sources: list[int]  # operations whose results it reads
    shape: tuple[int, ...]  # of its first result
    addition: int | None = None  # number of the addition, if it is one
    is_given: bool = False  # no operation has computed it
    parameter: str | None = None  # name, if it is one


@dataclass(eq=False)
class Call:
    """One run of a module. Its operations follow one another."""

    name: str
    module: nn.Module
    parent: "Call | None"
    first: int  # index of its first operation
    stop: int = 0  # index behind its last operation
    returned: int | None = None  # values in the tuple that it returns; 0 for a tensor, None for all else


@dataclass(eq=False)
class Dataflow:
    """One forward pass."""

    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)  # operations that compute the output

    def needed(self, without: tuple[int, int] | None = None) -> set[int]:
        """Find all operations that the output needs. without: an operation, and a source that it does not read."""
        return self._before(self.outputs, without)

    def needed_by(self, operation: int) -> set[int]:
        """Find all operations that one operation needs, and itself."""
        return self._before([operation])

    def _before(self, ends: list[int], without: tuple[int, int] | None = None) -> set[int]:
        reached, waiting = set[int](), list(ends)
        while waiting:
            if (at := waiting.pop()) not in reached:
                reached.add(at)
                waiting += (source for source in self.operations[at].sources if (at, source) != without)
        return reached

    def calls_with(self, some: set[int]) -> set[Call]:
        """Find the runs of modules that compute one of these operations."""
        computed = (n in some and not operation.is_given for n, operation in enumerate(self.operations))
        until = [0, *accumulate(computed)]
        return {call for call in self.calls if until[call.stop] > until[call.first]}

    def end_of(self, module: str) -> int:
        """Return how many operations have run when a module ends for the last time."""
        return max(call.stop for call in self.calls if call.name == module)


def follow(model: nn.Module, example: Arguments) -> Dataflow:
    """Run a network once in eval mode, and follow what its operations read. The model is not changed."""
    follower = _Follower(model)
    watched = watched_modules(model, follower.enter, follower.leave)
    with eval_mode(model), torch.no_grad(), unfused(model), watched, follower:
        output = call(model, example)
    follower.flow.outputs = [follower.source(tensor) for tensor in tensors(output)]
    return follower.flow


def _returned(output: object) -> int | None:
    if isinstance(output, Tensor):
        return 0
    return len(output) if type(output) is tuple and output and isinstance(output[0], Tensor) else None


class _Follower(OperationMode):
    """Sees each operation of torch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.flow = Dataflow()
        self._computed: Any = WeakIdKeyDictionary()  # tensor -> the last operation that has written it
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._running: list[Call | None] = [None]  # runs of modules at this moment, the innermost last
        self._additions = count()

    def source(self, tensor: Tensor) -> int:
        """Return the operation that has computed a tensor."""
        known: int | None = self._computed.get(tensor)
        if known is None:
            given = Operation([], tuple(tensor.shape), is_given=True, parameter=self._names.get(id(tensor)))
            known = self._add(given, [tensor])
        return known

    def _add(self, operation: Operation, results: list[Tensor]) -> int:
        at = len(self.flow.operations)
        self.flow.operations.append(operation)
        for tensor in results:
            self._computed[tensor] = at
        return at

    def enter(self, name: str, module: nn.Module, _: object) -> None:
        """Take note of a module that starts to run."""
        call = Call(name, module, self._running[-1], len(self.flow.operations))
        self.flow.calls.append(call)
        self._running.append(call)

    def leave(self, _module: nn.Module, _inputs: object, output: object) -> None:
        """Take note of a module that has run."""
        call = self._running.pop()
        assert call is not None
        call.stop, call.returned = len(self.flow.operations), _returned(output)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if results := tensors(result):
            sources = [self.source(tensor) for tensor in tensors((args, kwargs))]
            addition = next(self._additions) if is_addition(func, args) else None
            self._add(Operation(sources, tuple(results[0].shape), addition), results)
        return result
