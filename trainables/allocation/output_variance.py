"""How much the output channels of each layer vary."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.layers import eval_mode
from trainables.pruning.context import PruningContext

BATCH = 64  # samples at a time

Seen = Callable[[str, nn.Module, Tensor, Tensor], None]  # name, module, its input and its output


def output_variances(context: PruningContext) -> dict[str, Tensor]:
    """Find the variance of each output channel of every prunable layer, in eval mode.

    Where a batch norm reads a layer's output, the variance is its squared scale. Elsewhere it is measured over the
    calibration samples and their positions. Returns layer name -> (n_out,) in float64. The model stays as it is.
    """
    model, samples = context.prunable.model, context.samples
    names = [layer.name for part in context.prunable.parts for layer in part.layers]
    layers = {name: model.get_submodule(name) for name in names}
    variances = _squared_scales(model, layers, context.prunable.example)
    unscaled = {name: layer for name, layer in layers.items() if name not in variances}
    sums: dict[str, Tensor] = {}  # layer name -> (3, n_out): count, sum, sum of squares

    def add(name: str, layer: nn.Module, _: Tensor, output: Tensor) -> None:
        channels = output.movedim(1 if isinstance(layer, nn.Conv2d) else -1, 0).flatten(1).double()
        moments = torch.stack([torch.ones_like(channels), channels, channels.square()]).sum(2)
        sums[name] = sums.get(name, 0.0) + moments

    with _watched(unscaled, add), eval_mode(model), torch.no_grad():
        for images, _ in samples.batches(BATCH) if unscaled else ():
            model(images)
    for name, (count, total, squares) in sums.items():
        variances[name] = (squares / count - (total / count).square()).clamp_min(0.0)
    return variances


def _squared_scales(model: nn.Module, layers: Mapping[str, nn.Module], image: Tensor) -> dict[str, Tensor]:
    """Find the layers whose output a batch norm reads, by running one image (1, C, H, W)."""
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
        model(image)
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
