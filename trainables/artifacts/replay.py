"""Run a network again after some of its weights have changed; compute only what depends on these weights."""

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.fusion import fuse_conv_bn_weights

from trainables.arguments import Arguments, flat, one_tensor, spread

aten = torch.ops.aten

Steps = frozenset[fx.Node]  # operations on tensors, and the tensors that they start from
Values = Mapping[fx.Node, Any]  # results of some steps in one run


class Replay:
    """The steps of a network in eval mode, for batches of one size.

    `make_fx` records the steps while it runs the network. Operations in place become operations that keep their inputs,
    so that the results can be used again. Every run reads the weights and buffers, so they may change in place between
    two runs. A network whose steps depend on computed values cannot be recorded: it is a single step, which every rerun
    computes again.
    """

    def __init__(self, model: nn.Module, arguments: Arguments) -> None:
        """Trace the network on arguments (B, ...). All later ones must have the same shapes, types and device."""
        self.state = dict(model.named_parameters()) | dict(model.named_buffers())
        names = tuple(spread(arguments)[1])
        inputs = (*self.state.values(), *flat(arguments))
        first_named = len(inputs) - len(names)

        def outputs(*inputs: Tensor) -> Tensor:
            state, positional = dict(zip(self.state, inputs, strict=False)), inputs[len(self.state) : first_named]
            named = dict(zip(names, inputs[first_named:], strict=True))
            return one_tensor(functional_call(model, state, positional, named))

        try:
            with torch.no_grad():
                self._traced = make_fx(functionalize(outputs, remove="mutations"))(*inputs)
        except Exception:  # a network that cannot run raises its error at the first run
            self._traced = _single_step(outputs, len(inputs))
        fold_batch_norms(self._traced.graph)
        self._traced.graph.eliminate_dead_code()
        *steps, self._output = self._traced.graph.nodes
        self._steps: list[fx.Node] = steps
        placeholders = [step for step in steps if step.op == "placeholder"]
        self._state, self._arguments = placeholders[: len(self.state)], placeholders[len(self.state) :]

    def dependents(self, changed: Collection[str]) -> Steps:
        """Find the steps whose results may change when the weights and buffers with these names change."""
        return self._downstream({step for name, step in zip(self.state, self._state, strict=True) if name in changed})

    def _downstream(self, sources: set[fx.Node]) -> Steps:
        reached = set(sources)
        for step in self._steps:
            if not reached.isdisjoint(step.all_input_nodes):
                reached.add(step)
        return frozenset(reached)

    def read_by(self, reruns: Iterable[Steps]) -> Steps:
        """Find the steps whose results the reruns need from an earlier run. reruns: the dependents of each change."""
        return frozenset(
            source
            for dependents in reruns
            for step in (*dependents, self._output)
            for source in step.all_input_nodes
            if source not in dependents
        )

    @torch.inference_mode()
    def run(self, arguments: Arguments, wanted: Steps) -> tuple[Tensor, Values]:
        """Compute the outputs (B, ...), and return the results of the wanted steps with them."""
        recorder = _Recorder(self._traced, wanted)
        return recorder.run(*self.state.values(), *flat(arguments)), recorder.values

    def size(self, values: Values) -> int:
        """Return the bytes of the values that depend on the arguments."""
        of_samples = self._downstream({*self._arguments})
        return sum(value.nbytes for step, value in values.items() if step in of_samples)

    @torch.inference_mode()
    def rerun(self, dependents: Steps, values: Values) -> Tensor:
        """Compute the outputs (B, ...) again: only the dependents run, all other results are those in `values`."""
        known = {step: values.get(step) for step in self._steps if step not in dependents}
        known |= dict(zip(self._state, self.state.values(), strict=True))
        outputs: Tensor = fx.Interpreter(self._traced).run(initial_env=known)
        return outputs


class _Recorder(fx.Interpreter):
    """Runs a traced network and keeps the results of the wanted steps."""

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
    """Build a graph whose only step calls a function of so many tensors."""
    graph = fx.Graph()
    graph.output(graph.call_function(function, tuple(graph.placeholder(f"input_{i}") for i in range(inputs))))
    return fx.GraphModule(nn.Module(), graph)


def fold_batch_norms(graph: fx.Graph) -> None:
    """Fold each batch norm in eval mode into its convolution, if nothing else reads the convolution; changes the graph.

    The folded weights are steps of the graph, so they change with the weights and statistics.
    """
    for norm in list(graph.nodes):
        if norm.target not in (aten.native_batch_norm.default, aten.cudnn_batch_norm.default):
            continue
        conv, scale, shift, mean, variance, training, _, epsilon = norm.args
        if training or conv.target is not aten.convolution.default or len(conv.users) > 1:
            continue
        images, weight, bias, stride, padding, dilation, transposed, output_padding, groups = conv.args
        if transposed and groups > 1:  # its weight (in, out / groups, ...) is not ordered by output channel
            continue
        with graph.inserting_before(norm):
            folded = graph.call_function(
                fuse_conv_bn_weights, (weight, bias, mean, variance, epsilon, scale, shift, transposed)
            )
            weight, bias = (graph.call_function(getitem, (folded, index)) for index in range(2))
            conv = graph.call_function(
                conv.target,
                (images, weight, bias, stride, padding, dilation, transposed, output_padding, groups),
            )
        for output in list(norm.users):
            if output.args[1] == 0:  # the other outputs are statistics for training
                output.replace_all_uses_with(conv)
