"""The prunable layers of a network, and their numbers of weights and multiply-accumulates."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

Masks = Mapping[str, Tensor]  # layer name -> bool tensor of its weight's shape, True where the weight stays


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer that a forward pass runs."""

    name: str
    shape: tuple[int, ...]  # of its weight: (n_out, n_in / groups, kh, kw) or (n_out, n_in)
    positions: int  # how often one image uses each weight: output pixels, summed over runs of the layer

    @property
    def size(self) -> int:
        """The number of weights, without biases."""
        return prod(self.shape)

    @property
    def macs(self) -> int:
        """The number of multiply-accumulates for one image."""
        return self.size * self.positions


@dataclass(frozen=True)
class Count:
    """The kept weights and multiply-accumulates of the prunable layers."""

    weights: dict[str, int]  # layer name -> weights kept
    macs: dict[str, int]  # layer name -> multiply-accumulates kept, for one image

    @property
    def params_kept(self) -> int:
        """The number of kept weights of all layers."""
        return sum(self.weights.values())

    @property
    def macs_kept(self) -> int:
        """The kept multiply-accumulates of all layers, for one image; theoretical where weights are masked."""
        return sum(self.macs.values())


def prunable_layers(model: nn.Module, example: Tensor) -> tuple[Layer, ...]:
    """Find every Conv2d and Linear that a forward pass of `example` (1, C, H, W) runs, in module order.

    Raises ValueError for a weight that is computed, or that two layers share: masks support neither.
    """
    positions: dict[str, int] = {}

    def watch(name: str, out_dim: int) -> torch.utils.hooks.RemovableHandle:
        def count(module: nn.Module, _: object, output: Tensor) -> None:
            outputs = module.out_channels if isinstance(module, nn.Conv2d) else output.shape[out_dim]
            assert isinstance(outputs, int)
            positions[name] = positions.get(name, 0) + output.numel() // (len(example) * outputs)

        return modules[name].register_forward_hook(count)

    modules = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    run_with_hooks(model, example, [watch(name, -1) for name in modules])
    weights = {name: weight_of(modules[name]) for name in modules if name in positions}
    _refuse_unmaskable(weights)
    return tuple(Layer(name, tuple(weight.shape), positions[name]) for name, weight in weights.items())


def run_with_hooks(model: nn.Module, example: Tensor, hooks: Iterable[torch.utils.hooks.RemovableHandle]) -> None:
    """Run a network once in eval mode on `example` (1, C, H, W), then remove the hooks."""
    handles = list(hooks)
    try:
        with eval_mode(model), torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode and make every parameter require gradients, within the context.

    The context restores the mode of every module and the flag of every parameter.
    """
    modes = [(module, module.training) for module in model.modules()]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    try:
        model.eval().requires_grad_(True)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in frozen:
            parameter.requires_grad_(False)


def _refuse_unmaskable(weights: Mapping[str, Tensor]) -> None:
    owners: dict[Tensor, str] = {}
    for name, weight in weights.items():
        if not isinstance(weight, nn.Parameter):
            raise ValueError(f"layer {name} must store its weight, but computes it; remove its parametrization")
        if weight in owners:
            raise ValueError(
                f"layer {name} must not share its weight, but shares it with layer {owners[weight]}; "
                "give each layer its own weight"
            )
        owners[weight] = name


def weight_of(module: nn.Module) -> Tensor:
    """Return the weight of a layer or a batch norm."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def uncounted(model: nn.Module, example: Tensor) -> dict[str, int]:
    """Find the weights that no budget counts: parameters of two or more dimensions outside of `prunable_layers`.

    Returns parameter name -> number of weights. Runs the network once on `example` (1, C, H, W).
    """
    counted = {layer.name for layer in prunable_layers(model, example)}
    return {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.dim() > 1 and name.rpartition(".")[0] not in counted
    }


def count(model: nn.Module, masks: Masks, example: Tensor) -> Count:
    """Count the weights and multiply-accumulates of a network. Runs it once on `example` (1, C, H, W)."""
    layers = prunable_layers(model, example)
    weights = {layer.name: int(masks[layer.name].sum()) if layer.name in masks else layer.size for layer in layers}
    return Count(weights, {layer.name: weights[layer.name] * layer.positions for layer in layers})
