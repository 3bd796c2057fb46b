"""What the parameters of a network are: the modules that have them, and why some cannot be pruned."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.usage import Product, Usage

Owners: TypeAlias = list[tuple[str, nn.Module, str]]  # name of a module, the module, and its name of a parameter

_STORES = (  # modules that must store the weights that they multiply by
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase),
)


def owners_of(model: nn.Module) -> dict[nn.Parameter, Owners]:
    """Find the modules that have each parameter."""
    owners: dict[nn.Parameter, Owners] = {}
    for name, module in model.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(parameter, []).append((name, module, key))
    return owners


def refuse_computed(model: nn.Module, usage: Usage) -> None:
    """Raise ValueError for a layer that ran and computes its weight, as no mask holds that."""
    for name, module in model.named_modules():
        if name in usage.ran and computes_weight(module):
            raise ValueError(f"layer {name} must store its weight, but computes it; remove its parametrization")


def computes_weight(module: nn.Module) -> bool:
    """Tell whether a layer of torch has a weight that is no parameter, as with weight normalisation."""
    if not isinstance(module, _STORES):
        return False
    keys = ("weight", "in_proj_weight", *getattr(module, "_flat_weights_names", ()))
    return any(isinstance(getattr(module, key, None), Tensor) and module._parameters.get(key) is None for key in keys)


def kind_of(module: nn.Module) -> str:
    """Name the class of a module. The output projection of attention is a Linear of a class of its own."""
    return "Linear" if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear) else type(module).__name__


def why_fixed(name: str, parameter: nn.Parameter, owners: Owners, products: list[Product], usage: Usage) -> str:
    """Say why a parameter cannot be pruned; empty if it can."""
    _, module, key = owners[0]
    if name not in usage.read:
        return "a forward pass does not read it"
    if key.startswith("bias") or key.endswith("bias"):
        return "a bias"
    if "Norm" in type(module).__name__ and not products:
        return "the scale of a norm"
    if parameter.dim() < 2 or not parameter.numel():
        return "a vector"
    if name in usage.looked_up:
        also = f", and shared with {', '.join(owner for owner, _, _ in owners[1:])}" if len(owners) > 1 else ""
        return f"a table of which rows are looked up{also}"
    if products:
        return ""
    return (
        "its module changes it before the product" if isinstance(module, _STORES) else "no product has it as its matrix"
    )


def times_of_rows(parameter: Tensor, products: list[Product]) -> NDArray[np.int64] | None:
    """Count how often one image uses each row of a parameter: (rows,). None if products read parts of rows."""
    row = parameter.numel() // len(parameter)
    times = np.zeros(len(parameter), dtype=np.int64)
    for product in products:
        is_whole = product.start == 0 and product.stop == parameter.numel()
        is_rows = parameter.stride(0) == row and product.start % row == product.stop % row == 0
        if product.stop == product.start or not (is_whole or is_rows):
            return None
        times[product.start // row : product.stop // row] += product.macs // (product.stop - product.start)
    return times


def outputs_of(parameter: Tensor, product: Product) -> int:
    """Return the outputs of a matrix: its rows, if the product reads only a part of it."""
    return product.outputs if product.stop - product.start == parameter.numel() else len(parameter)
