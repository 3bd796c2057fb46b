"""A step's two passes on a GPU as CUDA graphs: small networks otherwise wait for the launch of each kernel."""

import warnings
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

PLAIN = {"torch", "torchvision", "trainables"}  # whose modules do the same in each step, whatever it is
Forward = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> logits (B, classes), with their gradients


def graphed(model: nn.Module, parameters: Iterable[Tensor], batch_size: int, device: torch.device) -> Forward:
    """Return the network in training mode, on a GPU as graphs, which batches of `batch_size` images replay.

    parameters: all that learn, those of gates on the network included; graphs go by their memory, so that they may
    change in place only. A network with modules of the user's own is left as it is: a graph repeats what Python did in
    the step that was captured, and the user's code may do something else in each. So is one that cannot be captured.
    """
    modules = {type(module).__module__.partition(".")[0] for module in model.modules()}
    if device.type != "cuda" or not modules <= PLAIN:
        return model
    return _Graphed(model, parameters, batch_size)


class _Graphed:
    """Captures at the first whole batch."""

    def __init__(self, model: nn.Module, parameters: Iterable[Tensor], batch_size: int) -> None:
        self._model, self._parameters, self._batch_size = model, list(parameters), batch_size
        self._replay: Forward | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if len(images) != self._batch_size:
            logits: Tensor = self._model(images)
            return logits
        if self._replay is None:
            self._replay = self._capture(images)
        return self._replay(images)

    def _capture(self, images: Tensor) -> Forward:
        """Capture, and leave buffers and random numbers as they were before the passes that warm up."""
        # Weights get their gradients on the stream of the capture, which autograd waits for, and would warn of.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        buffers = [(buffer, buffer.clone()) for buffer in self._model.buffers()]
        try:
            with torch.random.fork_rng([images.device]), _as_around():
                shell = Shell(self._model, self._parameters)
                _pass_without_waiting(shell, images)
                made = torch.cuda.make_graphed_callables(shell, (images.clone(),), allow_unused_input=True)
            replay = cast(Forward, made)
        except RuntimeError:
            replay = self._model
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        return replay


def _as_around() -> torch.autocast:
    """Autocast as it is here, but casting weights anew in each pass, as graphs must."""
    dtype, enabled = torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda")
    return torch.autocast("cuda", dtype, enabled, cache_enabled=False)


def _pass_without_waiting(network: nn.Module, images: Tensor) -> None:
    """Raise RuntimeError if a pass waits for the GPU: within a capture that would spoil the random numbers for good."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # torch calls the mode a prototype
        warnings.simplefilter("ignore", UserWarning)
        torch.cuda.set_sync_debug_mode("error")
    try:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        torch.autograd.grad(network(images).float().sum(), learning, allow_unused=True)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


class Shell(nn.Module):
    """What torch captures and marks as captured in place of the network itself, along with all that learns."""

    def __init__(self, model: nn.Module, parameters: list[Tensor]) -> None:
        super().__init__()
        self.model = model
        self.learning = nn.ParameterList(parameters)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes)."""
        logits: Tensor = self.model(images)
        return logits
