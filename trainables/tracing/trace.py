"""A traced forward pass: which channels of which stored tensors go together, and what each product costs."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from trainables.arguments import Arguments, call
from trainables.models.cifar import PadShortcut
from trainables.models.dispatch import OperationMode
from trainables.models.modes import eval_mode, tensors, watched_modules
from trainables.models.usage import PRODUCTS, macs_of, unfused
from trainables.tracing.labels import Ids, Labels, Traced
from trainables.tracing.operation import Operation, elementwise, hold_all
from trainables.tracing.products import COMPUTE
from trainables.tracing.views import MOVE

OUTPUT = "the network's output"  # what holds the channels of the last layers
_RULES = MOVE | COMPUTE
_OPAQUE = (nn.RNNBase, nn.RNNCellBase)  # modules that channels do not pass
_BY_CHANNEL = "|".join(  # torch's names of functions that treat each channel by itself
    (
        *("relu_?", "leaky_relu_?", "elu_?", "gelu", "silu_?", "mish", "hardtanh_?", "hardswish_?", "hardsigmoid_?"),
        *("sigmoid_?", "tanh_?", "softplus", "threshold", "native_dropout", "clone", "t", "detach", "permute", "cat"),
        *("convolution", "addmm", "mm", "bmm", "max_pool.*", "avg_pool.*", "adaptive_.*", "upsample_.*", "transpose"),
        *(".*batch_norm.*", "native_layer_norm", "native_group_norm"),
    )
)


@dataclass(frozen=True, eq=False)
class Split:
    """A dimension that a function splits. Units go along one axis of the array."""

    ids: Ids
    module: str


@dataclass(frozen=True, eq=False)
class Norm:
    """A norm whose statistics are over channels."""

    module: str
    dim: int  # of the channels in its input
    ids: Ids  # (channels,)


@dataclass(frozen=True, eq=False)
class Price:
    """A product: its multiply-accumulates for one image, and the labels of the dimensions that they grow with."""

    macs: int
    factors: Traced


@dataclass(eq=False)
class Trace:
    """What one forward pass shows."""

    labels: Labels = field(default_factory=Labels)
    stored: dict[tuple[str, int], Ids] = field(default_factory=dict)  # name of a tensor, dimension -> labels
    read: list[Ids] = field(default_factory=list)  # labels of stored tensors over which products sum
    splits: list[Split] = field(default_factory=list)
    norms: list[Norm] = field(default_factory=list)
    prices: list[Price] = field(default_factory=list)
    passed: list[tuple[str, Ids]] = field(default_factory=list)  # function -> labels that pass it


def trace(model: nn.Module, example: Arguments) -> Trace:
    """Run a network once on `example`, in eval mode and without gradients, and follow the channels of all tensors.

    Labels of channels that reach the network's output, or an operation that mixes them, are held.
    """
    tracer = _Tracer(model)
    with eval_mode(model), torch.no_grad(), unfused(model), watched_modules(model, tracer.enter, tracer.leave), tracer:
        output = call(model, example)
    for tensor in tensors(output):
        traced = tracer.of(tensor)
        for ids in (*traced.entries.values(), *(ids for ids, _ in traced.reduced)):
            tracer.labels.hold(ids, OUTPUT)
    _settle(tracer.found)
    return tracer.found


def _settle(found: Trace) -> None:
    """Decide along which axis of a split dimension units go: along the last one, unless an operation shows another."""
    changed = True
    while changed:
        changed = False
        for split in found.splits:
            axes, ids = found.labels.varies(split.ids), split.ids
            for axis in reversed(axes[:-1]):
                ids = found.labels.collapse(ids, axis, "view")
                changed = True


class _Tracer(OperationMode):
    """Sees each operation of torch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found = Trace()
        self._traced: Any = WeakIdKeyDictionary()
        stored = model.state_dict().keys()  # a checkpoint cannot give back the width of other buffers
        tensors_of = dict(model.named_parameters()) | dict(model.named_buffers())
        self._names = {id(tensor): name for name, tensor in tensors_of.items() if name in stored}
        # the modules that run at this moment, the innermost last: name, module, its first input
        self._running: list[tuple[str, nn.Module, Traced | None]] = [("", model, None)]

    @property
    def labels(self) -> Labels:
        """The labels of the trace."""
        return self.found.labels

    def of(self, tensor: Tensor) -> Traced:
        """Return what is known of a tensor. Dimensions of a stored tensor have labels, but those of extent 1."""
        known: Traced | None = self._traced.get(tensor)
        if known is None:
            known = Traced(tuple(tensor.shape))
            if (name := self._names.get(id(tensor))) is not None and tensor.is_floating_point():
                known.stored = True
                for dim, extent in enumerate(tensor.shape):
                    if extent > 1:
                        known.entries[dim,] = self.found.stored[name, dim] = self.labels.new(extent)
            self._traced[tensor] = known
        return known

    def where(self, operation: str) -> str:
        """Name an operation and the module that computes it."""
        name, module, _ = self._running[-1]
        if name and (is_norm(module) or isinstance(module, _OPAQUE)):
            return f"{type(module).__name__} {name}"
        return f"{operation} in {name}" if name else operation

    def norm(self, ids: Ids) -> bool:
        """Take note of a norm whose statistics are over these channels. False outside of modules that are norms."""
        name, module, entered = self._running[-1]
        if not is_norm(module) or entered is None or not _has_width(module):
            return False
        roots = self.labels.find(ids.ravel())
        for dims, of_input in entered.entries.items():
            if len(dims) == 1 and np.array_equal(self.labels.find(of_input), roots):
                self.found.norms.append(Norm(name, dims[0], of_input))
                return True
        return False

    def split(self, ids: Ids) -> None:
        """Take note of a dimension that is split."""
        self.found.splits.append(Split(ids, self._running[-1][0]))

    def summed(self, ids: Ids) -> None:
        """Take note of labels of a stored tensor over which a product sums."""
        self.found.read.append(ids)

    def enter(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Take note of a module that starts to run."""
        entered = self.of(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else None
        self._running.append((name, module, entered))

    def leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Take note of a module that has run."""
        self._running.pop()
        if isinstance(module, PadShortcut):
            self._copied(module, inputs[0], output)

    def _copied(self, shortcut: PadShortcut, source: Tensor, output: Tensor) -> None:
        """Follow a shortcut that copies channels: its inputs and outputs go apart."""
        name = self._names[id(shortcut.source)].removesuffix("source")
        ids = self.found.stored[f"{name}in_channels", 0] = self.labels.new(shortcut.in_channels)
        if (entered := self.of(source).entries.get((1,))) is None:
            self.labels.hold(ids, "the network's input")
        else:
            self.labels.unite(ids, entered)
        outputs = self.found.stored[f"{name}source", 0] = self.labels.new(len(shortcut.source))
        self._traced[output] = Traced(tuple(output.shape), {(1,): outputs})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        kind, module = func.overloadpacket, self._running[-1][1]
        rule = _RULES.get(kind.__name__)
        if rule is None and kind not in PRODUCTS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            rule = elementwise if torch.Tag.pointwise in func.tags else hold_all
        output = func(*args, **kwargs)
        if isinstance(module, PadShortcut):
            return output
        if rule is None or isinstance(module, _OPAQUE):
            rule = hold_all
        inputs = [self.of(each) for each in tensors((args, kwargs))]
        for each in inputs:
            self._reads(each)
        operation = Operation(self, kind.__name__.strip("_"), args, kwargs, tensors(output), inputs)
        if any(each.entries for each in inputs):
            for tensor, traced in zip(operation.outputs, rule(operation), strict=True):
                self._traced[tensor] = traced
            self._note(operation)
        if kind in PRODUCTS:
            self.found.prices.append(Price(macs_of(kind, args, output), operation.factors))
        return output

    def _reads(self, traced: Traced) -> None:
        while traced.reduced:
            self.labels.hold(*traced.reduced.pop())

    def _note(self, operation: Operation) -> None:
        """Remember which labels pass a function that may mix channels or know their number."""
        if not re.fullmatch(_BY_CHANNEL, operation.name):
            entries = [traced.entries for traced in operation.inputs if not traced.stored]
            self.found.passed += [(operation.name, ids.ravel()) for each in entries for ids in each.values()]


def is_norm(module: nn.Module) -> bool:
    """Tell whether a module is a norm, other than a batch norm: by its name, and as it holds vectors and no modules."""
    name = type(module).__name__.lower()
    leaf = next(module.children(), None) is None
    return "norm" in name and "batch" not in name and leaf and all(p.dim() == 1 for p in module.parameters())


def _has_width(norm: nn.Module) -> bool:
    """Tell whether the width of a norm follows from its weight, or from its input."""
    return next(norm.parameters(), None) is not None or not hasattr(norm, "normalized_shape")
