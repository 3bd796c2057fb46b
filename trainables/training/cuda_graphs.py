"""The forward and backward pass of a step as CUDA graphs: small networks otherwise wait for each kernel's launch."""

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments, outputs_of

CAPTURABLE = {"torch", "torchvision", "trainables"}  # packages whose modules run the same operations in each step
Forward = Callable[[Arguments], Tensor]  # inputs (B, ...) -> outputs (B, ...) with gradients


def graphed(model: nn.Module, parameters: Iterable[Tensor], batch_size: int, device: torch.device) -> Forward:
    """Return the forward pass of a network in training mode; on a GPU, batches of `batch_size` samples replay graphs.

    parameters: all tensors that learn, those of gates included. A graph reads their memory, so they may only change in
    place. A network with a user's modules is returned as it is: a graph repeats the operations of the captured step,
    and the user's code may run others in each step. A network that cannot be captured and one with
    several inputs also run without graphs.
    """
    modules = {type(module).__module__.partition(".")[0] for module in model.modules()}
    if device.type != "cuda" or not modules <= CAPTURABLE:
        return partial(outputs_of, model)
    return _Graphed(model, parameters, batch_size)


class _Graphed:
    """Captures the graphs at the first batch of full size."""

    def __init__(self, model: nn.Module, parameters: Iterable[Tensor], batch_size: int) -> None:
        self._model, self._parameters, self._batch_size = model, list(parameters), batch_size
        self._replay: Forward | None = None

    def __call__(self, inputs: Arguments) -> Tensor:
        if not isinstance(inputs, Tensor) or len(inputs) != self._batch_size:
            return outputs_of(self._model, inputs)
        if self._replay is None:
            self._replay = self._capture(inputs)
        return self._replay(inputs)

    def _capture(self, inputs: Tensor) -> Forward:
        """Capture the graphs; the passes that warm up change neither buffers nor the state of the random generators."""
        # The stream of the capture computes the gradients. Autograd waits for it, so its warning does not apply.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            with torch.random.fork_rng([inputs.device]), _uncached_autocast():
                learner = Learner(self._model, self._parameters)
                _check_no_wait(learner, inputs)
                graphs = torch.cuda.make_graphed_callables(learner, (inputs.clone(),), allow_unused_input=True)
            replay = cast(Forward, graphs)
        except RuntimeError:
            replay = partial(outputs_of, self._model)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        return replay


def _uncached_autocast() -> torch.autocast:
    """Return autocast with the current settings, but without its cache: a graph must cast the weights in each pass."""
    dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    return torch.autocast("cuda", dtype, enabled, cache_enabled=False)


def _check_no_wait(network: nn.Module, inputs: Tensor) -> None:
    """Raise RuntimeError if a pass waits for the GPU: in a capture, this breaks the random generator for good."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch calls the mode a prototype
        warnings.simplefilter("ignore", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        torch.autograd.grad(network(inputs).float().sum(), learning, allow_unused=True)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


class Learner(nn.Module):
    """A network and all tensors that learn. Torch captures and marks this module, so the network stays unmarked."""

    def __init__(self, model: nn.Module, parameters: list[Tensor]) -> None:
        super().__init__()
        self.model = model
        self.learning = nn.ParameterList(parameters)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs (B, ...) of the network."""
        return outputs_of(self.model, inputs)
