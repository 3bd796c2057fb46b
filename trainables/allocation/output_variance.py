"""How much the output channels of each layer vary."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.arguments import Arguments, call
from trainables.models.modes import eval_mode
from trainables.models.usage import Product, watch
from trainables.pruning.context import PruningContext

BATCH = 64  # samples at a time

Seen = Callable[[str, nn.Module, Tensor, Tensor], None]  # name, module, its input and its output


def output_variances(context: PruningContext) -> dict[str, Tensor]:
    """Find the variance of each output channel of every prunable layer, in eval mode.

    Where a batch norm reads a layer's output, the variance is its squared scale. Elsewhere it is measured over the
    calibration samples and their positions. Returns layer name -> (n_out,) in float64. The model stays as it is.
    """
    model, samples = context.prunable.model, context.samples
    layers = [layer for part in context.prunable.parts for layer in part.layers]
    modules = dict(model.named_modules())
    of_modules = {layer.name: modules[layer.name] for layer in layers if layer.name in modules}
    variances = _squared_scales(model, of_modules, context.prunable.example)
    unscaled = [layer for layer in layers if layer.name not in variances]
    sums: dict[str, Tensor] = {}  # parameter -> (3, outputs): count, sum, sum of squares
    outputs = {layer.parameter: layer.outputs for layer in unscaled}
    for layer in unscaled:
        if layer.rows:
            outputs[layer.parameter] = max(outputs[layer.parameter], layer.rows[1])

    def add(product: Product, result: Tensor) -> None:
        if (name := product.parameter) in outputs:
            channels = result.flatten(1).double()
            moments = torch.stack([torch.ones_like(channels), channels, channels.square()]).sum(2)
            total = sums.setdefault(name, moments.new_zeros(3, outputs[name]))
            first = product.start * len(model.get_parameter(name)) // model.get_parameter(name).numel()
            total[:, first : first + len(result)] += moments

    for inputs in samples.inputs_of(BATCH) if unscaled else ():
        watch(model, inputs, add)
    if not outputs.keys() <= sums.keys():  # torch copies some matrices for each image of a larger batch
        sums.clear()
        for image in samples.inputs_of(1):
            watch(model, image, add)
    for layer in unscaled:
        count, total, squares = layer.of(sums[layer.parameter].mT).unbind(1)
        variances[layer.name] = (squares / count - (total / count).square()).clamp_min(0.0)
    return variances


def _squared_scales(model: nn.Module, layers: Mapping[str, nn.Module], example: Arguments) -> dict[str, Tensor]:
    """Find the layers whose output a batch norm reads, by running one input (1, ...)."""
    written: list[tuple[str, Tensor]] = []
    scales: dict[str, Tensor] = {}

    def write(name: str, _: nn.Module, __: Tensor, output: Tensor) -> None:
        written.append((name, output))

    def read(_: str, norm: nn.Module, x: Tensor, __: Tensor) -> None:
        for name, output in written:
            if x is output:
                assert isinstance(norm, _BatchNorm)
                scale = norm.weight if norm.affine else torch.ones(norm.num_features, device=x.device)
                scales[name] = scale.detach().double().square()

    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    with _watched(layers, write), _watched(norms, read), eval_mode(model), torch.no_grad():
        call(model, example)
    return scales


@contextmanager
def _watched(modules: Mapping[str, nn.Module], seen: Seen) -> Iterator[None]:
    """Call `seen` after every forward pass of these modules, inside this context."""

    def hook(name: str) -> Any:
        return lambda module, inputs, output: seen(name, module, inputs[0], output)

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
