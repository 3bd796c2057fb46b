"""Batch norms as part of the convolutions before them: what both compute in eval mode takes one step instead of two."""

from operator import getitem

import torch
from torch import Tensor, fx

aten = torch.ops.aten


def fold_batch_norms(graph: fx.Graph) -> None:
    """Fold each batch norm in eval mode into the convolution that only it reads, in a graph of tensor operations.

    The folded weights are steps of the graph, too, so they follow the weights and statistics that they come from.
    """
    for norm in list(graph.nodes):
        if norm.target not in (aten.native_batch_norm.default, aten.cudnn_batch_norm.default):
            continue
        conv, scale, shift, mean, variance, training, _, epsilon = norm.args
        if training or scale is None or conv.target is not aten.convolution.default or len(conv.users) > 1:
            continue
        images, weight, bias, stride, padding, dilation, transposed, *rest = conv.args
        if transposed:
            continue
        with graph.inserting_before(norm):
            both = graph.call_function(_folded, (weight, bias, scale, shift, mean, variance, epsilon))
            weight, bias = (graph.call_function(getitem, (both, index)) for index in range(2))
            conv = graph.call_function(
                conv.target, (images, weight, bias, stride, padding, dilation, transposed, *rest)
            )
        for output in list(norm.users):
            if output.args[1] == 0:  # the others are statistics of training
                output.replace_all_uses_with(conv)


def _folded(
    weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    factor = scale * (variance + epsilon).rsqrt()
    offset = -mean if bias is None else bias - mean
    return weight * factor.view(-1, *[1] * (weight.dim() - 1)), shift + offset * factor
