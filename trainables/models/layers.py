"""The layers of a network: the weights that can be pruned, and what is fixed; weights and multiply-accumulates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from types import MappingProxyType

from torch import Tensor, nn

from trainables.arguments import Arguments
from trainables.models.parameters import (
    Owners,
    kind_of,
    outputs_of,
    owners_of,
    refuse_computed,
    times_of_rows,
    why_fixed,
)
from trainables.models.usage import Product, Usage, watch

Masks = Mapping[str, Tensor]  # parameter name -> bool tensor of its shape, True where the weight stays
NO_MASKS: Masks = MappingProxyType({})


@dataclass(frozen=True)
class Layer:
    """A weight matrix by which a forward pass multiplies."""

    name: str  # of its module, if this stores the matrix as its `weight`; otherwise of the parameter
    shape: tuple[int, ...]  # (n_out, n_in / groups, kh, kw), (n_out, n_in) and the like
    positions: int  # how often one image uses each weight: output pixels or tokens, summed over all runs
    parameter: str  # name of the parameter that stores it
    outputs: int
    kind: str  # class of the module that has the parameter
    rows: tuple[int, int] | None = None  # of the parameter, if it packs several matrices
    shared: tuple[str, ...] = ()  # other modules that have the same parameter

    @property
    def size(self) -> int:
        """The number of weights, without biases."""
        return prod(self.shape)

    @property
    def macs(self) -> int:
        """The number of multiply-accumulates for one image."""
        return self.size * self.positions

    def of(self, values: Tensor) -> Tensor:
        """Return the layer's part of a tensor that has the shape of its parameter: a view."""
        return values if self.rows is None else values[slice(*self.rows)]


@dataclass(frozen=True)
class Count:
    """The kept weights and multiply-accumulates of a network."""

    weights: dict[str, int]  # layer name -> weights kept
    macs: dict[str, int]  # layer name -> multiply-accumulates kept, for one image
    params_fixed: int  # parameters that are no weights of a layer
    macs_fixed: int  # multiply-accumulates for one image of products without the weights of a layer

    @property
    def params_kept(self) -> int:
        """The number of kept weights of all layers."""
        return sum(self.weights.values())

    @property
    def macs_kept(self) -> int:
        """All kept multiply-accumulates, for one image; theoretical where weights are masked."""
        return sum(self.macs.values()) + self.macs_fixed


@dataclass(frozen=True)
class Fixed:
    """A parameter that cannot be pruned."""

    size: int
    kind: str  # class of the module that has it
    reason: str


@dataclass(frozen=True)
class Inventory:
    """All parameters and multiply-accumulates of a network. Each one belongs to a layer, or is fixed."""

    layers: tuple[Layer, ...]
    fixed: Mapping[str, Fixed]  # parameter name -> parameter, in the order of the modules
    products: Mapping[str, int]  # module -> multiply-accumulates for one image of products without a layer's weights

    @property
    def params(self) -> int:
        """The number of all parameters."""
        return sum(layer.size for layer in self.layers) + self.params_fixed

    @cached_property
    def params_fixed(self) -> int:
        """The number of fixed parameters."""
        return sum(each.size for each in self.fixed.values())

    @cached_property
    def macs_fixed(self) -> int:
        """The multiply-accumulates, for one image, of products without the weights of a layer: no mask saves them."""
        return sum(self.products.values())

    def macs_fixed_in(self, module: str) -> int:
        """The part of `macs_fixed` that a module and the modules inside of it compute."""
        return sum(macs for name, macs in self.products.items() if is_inside(name, [module]))


def inventory(model: nn.Module, example: Arguments) -> Inventory:
    """Take account of every parameter of a network. Runs it once on `example`, one input (1, ...).

    Raises ValueError for a layer that computes its weight, as no mask holds that.
    """
    usage = watch(model, example)
    refuse_computed(model, usage)
    owners = owners_of(model)
    read = dict[str, list[Product]]()
    for product in usage.products:
        if product.parameter is not None:
            read.setdefault(product.parameter, []).append(product)
    layers, fixed = list[Layer](), dict[str, Fixed]()
    for name, parameter in model.named_parameters():
        found = _layers(name, parameter, owners[parameter], read.get(name, []), usage)
        if isinstance(found, str):
            fixed[name] = Fixed(parameter.numel(), kind_of(owners[parameter][0][1]), found)
        else:
            layers += found
    stored = {layer.parameter for layer in layers}
    products = dict[str, int]()
    for product in usage.products:
        if product.parameter not in stored and product.macs:
            products[product.module] = products.get(product.module, 0) + product.macs
    return Inventory(tuple(layers), fixed, products)


def prunable_layers(model: nn.Module, example: Arguments) -> tuple[Layer, ...]:
    """Find the layers of a network, as `inventory`, in the order of the modules."""
    return inventory(model, example).layers


def count(model: nn.Module, masks: Masks, example: Arguments) -> Count:
    """Count the weights and multiply-accumulates of a network, as `inventory`."""
    found = inventory(model, example)
    weights = {
        layer.name: int(layer.of(masks[layer.parameter]).sum()) if layer.parameter in masks else layer.size
        for layer in found.layers
    }
    macs = {layer.name: weights[layer.name] * layer.positions for layer in found.layers}
    return Count(weights, macs, found.params_fixed, found.macs_fixed)


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight of a layer or a batch norm."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def is_inside(name: str, modules: Iterable[str]) -> bool:
    """Tell whether a name is that of one of these modules, or of a module or parameter inside of one."""
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def weight_name(module: str) -> str:
    """Return the name of a module's weight. A network may be a single layer, whose name is empty."""
    return f"{module}.weight".removeprefix(".")


def _layers(
    name: str, parameter: nn.Parameter, owners: Owners, products: list[Product], usage: Usage
) -> list[Layer] | str:
    """Find the layers that a parameter stores; or the reason for which it stores none."""
    (_, module, key), *others = owners
    if reason := why_fixed(name, parameter, owners, products, usage):
        return reason
    assert products
    length = len(parameter)
    packs = isinstance(module, nn.MultiheadAttention) and key == "in_proj_weight"
    edges = range(0, length + 1, length // 3 if packs else length)
    times = times_of_rows(parameter, products)
    layers = []
    for label, (first, last) in zip(("q_proj", "k_proj", "v_proj") if packs else ("",), pairwise(edges), strict=True):
        if times is None or times[first:last].min() != times[first:last].max():
            return "its rows are not used equally often"
        layers.append(
            Layer(
                name=_named(name, module, label),
                shape=(last - first, *parameter.shape[1:]),
                positions=int(times[first]),
                parameter=name,
                outputs=last - first if packs else outputs_of(parameter, products[0]),
                kind=kind_of(module),
                rows=(first, last) if packs else None,
                shared=tuple(owner for owner, _, _ in others),
            )
        )
    return layers


def _named(parameter: str, module: nn.Module, label: str) -> str:
    """Name a layer: by its module if the module has no other; in attention as the projections of separate matrices."""
    if label:
        return parameter.removesuffix("in_proj_weight") + label
    if isinstance(module, nn.MultiheadAttention):
        return parameter.removesuffix("_weight")
    return "" if parameter == "weight" else parameter.removesuffix(".weight")
