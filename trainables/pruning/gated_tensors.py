"""Channels of a running network multiplied by factors, at the tensors that produce them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.models.cifar import PadShortcut
from trainables.pruning.channels import Channels

_EPSILON = "variance_epsilon"  # attribute of the root-mean-square norms of transformers


@contextmanager
def attached(channels: Channels, factors_of: Callable[[], Tensor]) -> Iterator[None]:
    """Multiply the channels of each unit by its factor within the context.

    The tensors that produce the channels are multiplied, as they are smaller than what they produce: the scale and
    shift of a batch norm, or filters and biases. Layer norms and root-mean-square norms weigh the channels in their
    statistics by the factors. factors_of: called at each forward pass, returns (units,) over all parts in order.
    """
    model, positions, norms = channels.model, channels.gate_positions(), channels.gate_norms()
    all_positions = _Positions([each[1] for each in (*positions.values(), *norms.values())])
    copied, weighed = dict[nn.Module, Tensor](), dict[nn.Module, Tensor]()
    before = list[tuple[dict[str, Any], str, Tensor]]()

    def scale_tensors(*_: object) -> None:
        factors = all_positions.spread(factors_of())
        for (name, (dim, _units)), factor in zip(positions.items(), factors, strict=False):
            path, _dot, key = name.rpartition(".")
            module = model.get_submodule(path)
            if isinstance(module, PadShortcut):
                copied[module] = factor
                continue
            tensors: dict[str, Any] = module._parameters if key in module._parameters else module._buffers
            before.append((tensors, key, tensors[key]))
            tensors[key] = tensors[key] * factor.view(-1, *[1] * (tensors[key].dim() - 1 - dim))
        weighed.update(zip(map(model.get_submodule, norms), factors[len(positions) :], strict=True))

    def restore_tensors(*_: object) -> None:
        while before:
            tensors, key, whole = before.pop()
            tensors[key] = whole

    def scale_output(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output * copied[module].to(output.dtype)[:, None, None]

    def weigh(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return _weighed(norm, inputs[0], weighed[norm], norms[names[norm]][0]).to(output.dtype)

    names = {model.get_submodule(name): name for name in norms}
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(scale_tensors).remove)
        stack.callback(model.register_forward_hook(restore_tensors, always_call=True).remove)
        for module in model.modules():
            if isinstance(module, PadShortcut):
                stack.callback(module.register_forward_hook(scale_output).remove)
            if module in names and (isinstance(module, nn.LayerNorm | nn.RMSNorm) or hasattr(module, _EPSILON)):
                stack.callback(module.register_forward_hook(weigh).remove)
        yield


class _Positions:
    """Units of positions of several tensors."""

    def __init__(self, units: list[NDArray[np.int64]]) -> None:
        self._sizes = [len(of_tensor) for of_tensor in units]
        self._units = torch.from_numpy(np.concatenate(units))

    def spread(self, factors: Tensor) -> tuple[Tensor, ...]:
        """Give each position the factor of its unit, or 1 if it has no unit: a tensor for each tensor."""
        self._units = self._units.to(factors.device)
        with_one = torch.cat((factors, factors.new_ones(1)))
        spread: tuple[Tensor, ...] = with_one[self._units].split(self._sizes)
        return spread


def _weighed(norm: nn.Module, x: Tensor, factors: Tensor, dim: int) -> Tensor:
    """Normalise with weighted statistics over the channels. factors: (channels,)."""
    x = x.movedim(dim, -1)
    shares = factors / factors.sum()
    if isinstance(norm, nn.LayerNorm):
        x = x - (x * shares).sum(-1, keepdim=True)
    eps = getattr(norm, _EPSILON) if hasattr(norm, _EPSILON) else getattr(norm, "eps", None)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    x = x * ((x.square() * shares).sum(-1, keepdim=True) + eps).rsqrt()
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    x = x if weight is None else x * weight
    return (x if bias is None else x + bias).movedim(-1, dim)
