"""Runs of a network that leave no trace in it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments, call


def run_with_hooks(model: nn.Module, inputs: Arguments, hooks: Iterable[torch.utils.hooks.RemovableHandle]) -> Any:
    """Run a network once in eval mode, then remove the hooks. Return its output."""
    handles = list(hooks)
    try:
        with eval_mode(model), torch.no_grad():
            return call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()


def tensors(value: object) -> list[Tensor]:
    """List the tensors in nested arguments or results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in tensors(each)] if isinstance(value, list | tuple) else []


@contextmanager
def watched_modules(
    model: nn.Module,
    enter: Callable[[str, nn.Module, tuple[Any, ...]], None],
    leave: Callable[[nn.Module, tuple[Any, ...], Any], None],
) -> Iterator[None]:
    """Watch, within the context, each run of a module inside the network.

    enter: called before the run with the module's name, the module and its inputs.
    leave: called after the run with the module, its inputs and its output.
    """
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_pre_hook(partial(enter, name)).remove)
                stack.callback(module.register_forward_hook(leave).remove)
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model in eval mode and make every parameter require gradients, within the context.

    The context restores the mode of every module and the flag of every parameter. A network with recurrent layers
    computes without cuDNN, which has no gradients for them in eval mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    try:
        model.eval().requires_grad_(True)
        recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
        with _without_cudnn() if recurrent else nullcontext():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in frozen:
            parameter.requires_grad_(False)


def _without_cudnn() -> AbstractContextManager[None]:
    rest = dict.fromkeys(("benchmark", "benchmark_limit", "deterministic", "allow_tf32", "fp32_precision"))
    without: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=False, **rest)
    return without
