"""How a forward pass uses the parameters of a network: products of matrices, convolutions and lookups."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.arguments import Arguments, call
from trainables.models.dispatch import OperationMode
from trainables.models.modes import eval_mode, watched_modules

aten = torch.ops.aten

PRODUCTS = {  # operation -> positions of the arguments that may be its weight, the likeliest first
    aten.mm: (1, 0),
    aten.addmm: (2, 1),
    aten.bmm: (1, 0),
    aten.baddbmm: (2, 1),
    aten.convolution: (1,),
    aten._convolution: (1,),
    aten.mv: (0,),
    aten.addmv: (1,),
    aten._trilinear: (1,),  # of nn.Bilinear
}
_LOOKUPS = (
    *(aten.embedding, aten._embedding_bag, aten._embedding_bag_forward_only),
    *(aten.index, aten.index_select, aten.gather),
)


@dataclass(frozen=True)
class Product:
    """One product of matrices, or one convolution."""

    module: str  # the innermost module that computes it
    macs: int  # multiply-accumulates
    parameter: str | None = None  # that stores its weight; None: both factors are computed
    start: int = 0  # the first element of the parameter that it reads
    stop: int = 0  # the element behind the last one; equal to `start` where it reads scattered elements
    outputs: int = 0  # of its weight


@dataclass
class Usage:
    """What one forward pass did. Parameters that several modules share have the first of their names."""

    products: list[Product] = field(default_factory=list)
    read: set[str] = field(default_factory=set)  # parameters that any operation reads
    looked_up: set[str] = field(default_factory=set)  # parameters of which rows are picked
    ran: set[str] = field(default_factory=set)  # modules


Seen = Callable[[Product, Tensor], object]  # a product with a parameter, and its result (outputs, ...)


def watch(model: nn.Module, inputs: Arguments, seen: Seen = lambda product, result: None) -> Usage:
    """Run a network once in eval mode and without gradients, and see how it uses its parameters.

    The fused kernels of attention and of recurrent layers are switched off, so that each product is seen.
    """
    usage, running = Usage(ran={""}), [""]  # the network itself runs, too

    def enter(name: str, *_: object) -> None:
        usage.ran.add(name)
        running.append(name)

    def leave(*_: object) -> None:
        running.pop()

    with (
        watched_modules(model, enter, leave),
        eval_mode(model),
        torch.no_grad(),
        unfused(model),
        _Watch(model, usage, running, seen),
    ):
        call(model, inputs)
    return usage


@contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """Compute attention and recurrent layers by single operations."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if any(isinstance(module, nn.RNNBase) for module in model.modules()):  # mkldnn computes an LSTM at once
                stack.enter_context(
                    torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None)
                )
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Watch(OperationMode):
    """Sees each operation of torch."""

    def __init__(self, model: nn.Module, usage: Usage, running: list[str], seen: Seen) -> None:
        super().__init__()
        self._usage, self._running, self._seen = usage, running, seen
        self._stored: dict[int, list[_Stored]] = defaultdict(list)
        for name, parameter in model.named_parameters():
            start = int(parameter.storage_offset())
            stored = _Stored(name, start, start + _span(parameter))
            self._stored[_storage(parameter)].append(stored)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        kind = func.overloadpacket
        if kind not in PRODUCTS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = func(*args, **kwargs)
        tensors = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else (arg,))]
        held = {id(each): found for each in tensors if isinstance(each, Tensor) and (found := self._held(each))}
        self._usage.read |= {found.parameter for found in held.values()}
        if kind in _LOOKUPS and (found := held.get(id(args[0]))):
            self._usage.looked_up.add(found.parameter)
        elif kind in PRODUCTS:
            product = Product(self._running[-1], macs_of(kind, args, output))
            weight = next((args[at] for at in PRODUCTS[kind] if id(args[at]) in held), None)
            if weight is not None:
                by_output = output.movedim(_output_dim(kind, args, weight), 0)
                product = replace(product, **held[id(weight)]._asdict(), outputs=len(by_output))
                self._seen(product, by_output)
            self._usage.products.append(product)
        return output

    def _held(self, tensor: Tensor) -> "_Stored | None":
        """Find the parameter of which a tensor is a view, and the elements of the parameter that it has."""
        if tensor.layout != torch.strided:
            return None
        start, elements = int(tensor.storage_offset()), _elements(tensor)
        for stored in self._stored.get(_storage(tensor), ()):
            if stored.start <= start < stored.stop:
                begin = start - stored.start
                return _Stored(stored.parameter, begin, begin + (elements if elements == _span(tensor) else 0))
        return None


class _Stored(NamedTuple):
    """Elements of a parameter, or their positions in memory."""

    parameter: str
    start: int
    stop: int


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # not the address, which is 0 on the meta device


def _span(tensor: Tensor) -> int:
    """The number of elements of memory from the first to the last one of a tensor."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _elements(tensor: Tensor) -> int:
    """The number of elements without those that an expansion repeats."""
    return prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)


def macs_of(kind: Any, args: Any, output: Tensor) -> int:
    """Count multiply-accumulates as `torch.utils.flop_counter`, which does not know vectors and nn.Bilinear."""
    if kind in (aten.mv, aten.addmv):
        return int(args[PRODUCTS[kind][0]].numel())
    if kind is aten._trilinear:
        return int(args[1].numel() * (output.numel() // output.shape[-1]))
    if kind in (aten.convolution, aten._convolution):
        images, weight, is_transposed = args[0], args[1], args[6]
        return int((images if is_transposed else output).numel() * weight[0].numel())
    return int(output.numel() * args[PRODUCTS[kind][1]].shape[-1])


def _output_dim(kind: Any, args: Any, weight: Tensor) -> int:
    """Find the dimension of an operation's result that belongs to the outputs of its weight."""
    if kind in (aten.mm, aten.addmm, aten.bmm, aten.baddbmm):
        return -1 if weight is args[PRODUCTS[kind][0]] else -2
    return -1 if kind in (aten.mv, aten.addmv, aten._trilinear) else 1
