"""Accuracy without training: re-fit what is left of each layer to the outputs that it had before pruning."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.arguments import Arguments, outputs_of, samples_in
from trainables.compensation.ridge import MaskedRidge
from trainables.compensation.sums import End, Ends, Sum
from trainables.models.layers import Masks, weight_name, weight_of
from trainables.models.parameters import owners_of
from trainables.pruning.granularity import Cut

DAMPING = 0.01  # pull towards the weights before the fit (ours)
_OutProjection = nn.modules.linear.NonDynamicallyQuantizableLinear  # of nn.MultiheadAttention
PLACES = 40  # outputs of a layer that are read of each image, at most (ours)


class Fitted(NamedTuple):
    """The parameters of a layer after a fit."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Copy the parameters that a layer has now."""
        weight, bias = (getattr(module, name) for name in ("weight", "bias"))
        return cls(weight.detach().clone(), None if bias is None else bias.detach().clone())


@dataclass(frozen=True, eq=False)
class Targets:
    """What a network computes before pruning: sampled outputs of each layer that runs once, and its last outputs."""

    outputs: Mapping[str, Tensor]  # layer name -> (samples, outputs)
    rows: Mapping[str, Tensor]  # layer name -> (samples,) indices of the sampled rows of its output
    normalised: frozenset[str]  # layers whose mean outputs a batch norm subtracts
    sums: Mapping[str, Sum]  # layer name -> what is added to its output, or to that of its batch norm
    final: Tensor  # what the network returns, (N, ...)

    @classmethod
    @torch.no_grad()
    def read(cls, network: nn.Module, inputs: Arguments, seed: int) -> Self:
        """Run a network in eval mode once on inputs (N, ...). seed: of the draw of samples."""
        draw = torch.Generator().manual_seed(seed)
        outputs, rows, sums = dict[str, Tensor](), dict[str, Tensor](), dict[str, Sum]()
        repeated, samples = set[str](), samples_in(inputs)
        layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}

        def take(name: str, module: nn.Module, output: Tensor) -> None:
            if name in outputs:
                repeated.add(name)
            all_rows = _as_rows(module, output)
            drawn = torch.randperm(len(all_rows), generator=draw)[: PLACES * samples].sort().values
            rows[name] = drawn.to(all_rows.device)
            outputs[name] = all_rows[rows[name]]

        def add(end: End, other: Tensor) -> None:
            sums[end.layer] = Sum.of(end, _as_rows(layers[end.layer], other)[rows[end.layer]])

        with ExitStack() as stack:
            for name, layer in layers.items():
                if not isinstance(layer, _OutProjection):
                    hook = layer.register_forward_hook(lambda m, _, output, name=name: take(name, m, output))
                    stack.callback(hook.remove)
            for name, module in network.named_modules():
                if isinstance(module, nn.MultiheadAttention):  # does not call its output projection
                    projection = f"{name}.out_proj".removeprefix(".")
                    hook = module.register_forward_hook(
                        lambda m, _, output, name=projection: take(name, m.out_proj, output[0])
                    )
                    stack.callback(hook.remove)
            ends = stack.enter_context(Ends(network, add))
            final = outputs_of(network, inputs)
        for name in repeated | _sharing(network) & outputs.keys():
            del outputs[name]
        return cls(outputs, rows, frozenset(ends.normalised), sums, final)


@torch.no_grad()
def compensate(
    model: nn.Module,
    targets: Targets,
    cut: Cut,
    inputs: Arguments,
    batch_statistics: bool = True,
    damping: float = DAMPING,
    others: Sequence[Masks] = (),
) -> tuple[Tensor, list[dict[str, Fitted]]]:
    """Re-fit each convolution and linear layer of a pruned network in place by least squares, without labels.

    The layers follow in the order in which they run. Each one is fitted to the outputs of the same layer in the network
    before pruning, from the inputs that it has after pruning, when all layers before it are fitted already. One pass
    does all of this, as a layer is fitted just before it runs. A layer whose output, or that of its batch norm, is
    added to another tensor is fitted just before this sum, to what the sum lacks: so the last layer of a residual
    branch also repairs what earlier branches have lost. Least squares on the outputs of a layer is the idea of OBC
    (arXiv 2208.11580) and of ThiNet (arXiv 1707.06342); fitting in the pruned network and to sums, the damping and the
    sampled outputs are ours. Layers of other kinds stay as they are, and so do layers that run more than once, that
    share their weights, that are frozen, or that the network did not have before pruning.

    Args:
        model: the pruned network.
        targets: of the network before pruning, for the same inputs.
        cut: what is left of each layer; masked weights become 0.
        inputs: (N, ...), all of which are in memory together with one layer's inputs and all targets.
        batch_statistics: whether batch norms normalise by these inputs instead of their running statistics, which are
            about to be estimated again.
        damping: as for `MaskedRidge`.
        others: other masks of some layers. Each such layer is also fitted with them, to the same inputs, but the model
            does not get these parameters.

    Returns:
        The outputs (N, ...) of the re-fitted network, and for each of `others` the parameters of its layers by name.
    """
    fitted: list[dict[str, Fitted]] = [{} for _ in others]
    waiting = dict[str, tuple[_Fit, nn.Conv2d | nn.Linear, Tensor]]()  # layers that will be fitted at their sum

    def run(fit: _Fit, module: nn.Conv2d | nn.Linear, given: tuple[Tensor, ...]) -> None:
        if fit.name in targets.sums:
            waiting[fit.name] = fit, module, given[0]
        else:
            fit(module, given[0])

    def add(end: End, other: Tensor) -> Tensor | None:
        if end.layer not in waiting:
            return None
        fit, module, read = waiting.pop(end.layer)
        fit(module, read, other)
        output = module.forward(read)
        return (output if end.norm is None else end.norm.forward(output)) + other

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(setattr, module, "training", module.training)
            module.training = False
            if isinstance(module, _BatchNorm) and batch_statistics and module.track_running_stats:
                stack.callback(setattr, module, "track_running_stats", True)
                module.track_running_stats = False  # in training mode, torch then ignores running statistics
                module.training = True
            if name in targets.outputs and can_be_fitted(module):
                fit = partial(run, _Fit(targets, name, cut, damping, others, fitted))
                stack.callback(module.register_forward_pre_hook(fit).remove)
        stack.enter_context(Ends(model, add))
        outputs = outputs_of(model, inputs)
    return outputs, fitted


def _sharing(network: nn.Module) -> set[str]:
    """Find the modules that share a parameter with another module."""
    return {name for owners in owners_of(network).values() if len(owners) > 1 for name, _, _ in owners}


def can_be_fitted(module: nn.Module) -> bool:
    """Tell whether compensation changes a module: a convolution or a linear layer that is not frozen."""
    return isinstance(module, nn.Conv2d | nn.Linear) and weight_of(module).requires_grad


@dataclass(frozen=True)
class _Fit:
    """Fits a layer."""

    targets: Targets
    name: str
    cut: Cut
    damping: float
    others: Sequence[Masks]
    fitted: list[dict[str, Fitted]]  # of `others`

    def __call__(self, module: nn.Conv2d | nn.Linear, images: Tensor, other: Tensor | None = None) -> None:
        """Fit the layer to its targets from what it reads; other: what is added to its output then."""
        target, rows = self.targets.outputs[self.name], self.targets.rows[self.name]
        added = None if other is None else self.targets.sums[self.name]
        if self.name in self.cut.outputs:
            kept = self.cut.outputs[self.name].to(target.device)
            target, added = target[:, kept], added and added.cut(kept)
        if added and other is not None:
            target = target + added.missing(_as_rows(module, other)[rows])
        read = _inputs_of(module, images, rows)  # (groups, samples, width)
        shape = len(read), len(target.T) // len(read)  # groups, outputs of a group
        target = target.unflatten(1, shape).movedim(1, 0)
        fits_bias = module.bias is not None and module.bias.requires_grad
        if module.bias is not None and not fits_bias:
            target = target - module.bias.unflatten(0, (shape[0], 1, shape[1]))
        centred = fits_bias or self.name in self.targets.normalised
        mean_read, mean_target = (
            each.mean(1, keepdim=True) if centred else each.new_zeros(()) for each in (read, target)
        )
        ridge = MaskedRidge(read - mean_read, target - mean_target, self.damping)
        weight = module.weight.flatten(1).unflatten(0, shape)

        def fit(mask: Tensor | None) -> Fitted:
            kept = torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.reshape(weight.shape)
            solved = ridge.fit(weight, kept.to(weight.device))
            bias = (mean_target - mean_read @ solved.mT).flatten() if fits_bias else None
            return Fitted(solved.reshape(module.weight.shape), bias)

        for masks, fitted in zip(self.others, self.fitted, strict=True):
            if (key := weight_name(self.name)) in masks:
                fitted[self.name] = fit(masks[key])
        put(module, fit(self.cut.masks.get(weight_name(self.name))))


@torch.no_grad()
def put(module: nn.Module, fitted: Fitted) -> None:
    """Give a layer its fitted parameters."""
    weight_of(module).copy_(fitted.weight)
    if fitted.bias is not None:
        module.get_parameter("bias").copy_(fitted.bias)


def _as_rows(module: nn.Module, output: Tensor) -> Tensor:
    """View the output of a layer as (rows, outputs): one row for each image and pixel, or each token."""
    return (output.movedim(1, -1) if isinstance(module, nn.Conv2d) else output).flatten(0, -2)


def _inputs_of(module: nn.Conv2d | nn.Linear, images: Tensor, rows: Tensor) -> Tensor:
    """Gather what a layer reads to compute some rows of its output: (groups, rows, inputs of a row)."""
    if isinstance(module, nn.Linear):
        return images.flatten(0, -2)[rows][None]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(images, module._reversed_padding_repeated_twice, mode=mode)
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    high, wide = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1, (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    image, y, x = rows // (high * wide), rows // wide % high * sh, rows % wide * sw
    patches = [padded[image, :, y + i * dh, x + j * dw] for i in range(kh) for j in range(kw)]
    by_group: Tensor = torch.stack(patches, dim=2).unflatten(1, (module.groups, -1))
    return by_group.flatten(2).movedim(1, 0)
