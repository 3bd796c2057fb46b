"""Running a network again after some of its weights have changed: only what depends on them is computed anew."""

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

aten = torch.ops.aten

Steps = frozenset[fx.Node]  # operations on tensors, and the tensors that they start from
Values = Mapping[fx.Node, Any]  # what some steps of one run came to


class Replay:
    """The steps of a network that is in eval mode, for batches of one size.

    `make_fx` writes them down as it runs the network, whatever modules and functions they come from; operations in
    place become ones that leave their inputs alone, so that what was computed can be used again. Weights and buffers
    are read at every run, so they may change in place in between. A network whose steps depend on the values that it
    computes cannot be written down: it is a single step, all of which is computed anew.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        """Trace the network on images (B, C, H, W), which further ones must be like."""
        self.state = dict(model.named_parameters()) | dict(model.named_buffers())

        def logits(*inputs: Tensor) -> Any:
            return functional_call(model, dict(zip(self.state, inputs, strict=False)), inputs[-1:])

        inputs = (*self.state.values(), images)
        try:
            with torch.no_grad():
                self._traced = make_fx(functionalize(logits, remove="mutations"))(*inputs)
        except Exception:  # a network that cannot run fails again where it is run
            self._traced = _single_step(logits, len(inputs))
        fold_batch_norms(self._traced.graph)
        self._traced.graph.eliminate_dead_code()
        *steps, self._output = self._traced.graph.nodes
        self._steps: list[fx.Node] = steps
        *self._state, self._images = (step for step in steps if step.op == "placeholder")

    def dependents(self, changed: Collection[str]) -> Steps:
        """Find the steps that may come to something else when the weights and buffers of these names change."""
        return self._downstream({step for name, step in zip(self.state, self._state, strict=True) if name in changed})

    def _downstream(self, sources: set[fx.Node]) -> Steps:
        found = set(sources)
        for step in self._steps:
            if not found.isdisjoint(step.all_input_nodes):
                found.add(step)
        return frozenset(found)

    def read_by(self, reruns: Iterable[Steps]) -> Steps:
        """Find what any of these reruns, each the dependents of some change, reads of the run before it."""
        return frozenset(
            source
            for dependents in reruns
            for step in (*dependents, self._output)
            for source in step.all_input_nodes
            if source not in dependents
        )

    @torch.inference_mode()
    def run(self, images: Tensor, wanted: Steps) -> tuple[Tensor, Values]:
        """Compute logits (B, classes), and what the wanted steps came to."""
        recorder = _Recorder(self._traced, wanted)
        return recorder.run(*self.state.values(), images), recorder.values

    def size(self, values: Values) -> int:
        """Count the bytes of those values that depend on the images."""
        found = self._downstream({self._images})
        return sum(value.nbytes for step, value in values.items() if step in found)

    @torch.inference_mode()
    def rerun(self, dependents: Steps, values: Values) -> Tensor:
        """Compute logits (B, classes) once more, all but the dependents as in the run that left these values."""
        known = {step: values.get(step) for step in self._steps if step not in dependents}
        known |= dict(zip(self._state, self.state.values(), strict=True))
        logits: Tensor = fx.Interpreter(self._traced).run(initial_env=known)
        return logits


class _Recorder(fx.Interpreter):
    def __init__(self, traced: fx.GraphModule, wanted: Steps) -> None:
        super().__init__(traced)
        self._wanted = wanted
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._wanted:
            self.values[n] = value
        return value


def _single_step(function: Callable[..., Any], inputs: int) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.call_function(function, tuple(graph.placeholder(f"input_{i}") for i in range(inputs))))
    return fx.GraphModule(nn.Module(), graph)


def fold_batch_norms(graph: fx.Graph) -> None:
    """Fold each batch norm in eval mode into the convolution that only it reads, in a graph of tensor operations.

    The folded weights are steps of the graph, too, so they follow the weights and statistics that they come from.
    """
    for norm in list(graph.nodes):
        if norm.target not in (aten.native_batch_norm.default, aten.cudnn_batch_norm.default):
            continue
        conv, scale, shift, mean, variance, training, _, epsilon = norm.args
        if training or conv.target is not aten.convolution.default or len(conv.users) > 1:
            continue
        images, weight, bias, stride, padding, dilation, transposed, output_padding, groups = conv.args
        if transposed and groups > 1:  # its weight (in, out / groups, ...) does not hold the output channels in order
            continue
        with graph.inserting_before(norm):
            both = graph.call_function(
                fuse_conv_bn_weights, (weight, bias, mean, variance, epsilon, scale, shift, transposed)
            )
            weight, bias = (graph.call_function(getitem, (both, index)) for index in range(2))
            conv = graph.call_function(
                conv.target,
                (images, weight, bias, stride, padding, dilation, transposed, output_padding, groups),
            )
        for output in list(norm.users):
            if output.args[1] == 0:  # the others are statistics of training
                output.replace_all_uses_with(conv)
