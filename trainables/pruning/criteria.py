"""Criteria: one score for each unit of a granularity; the units of lowest score go first."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.models.layers import eval_mode, weight_of
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.pruning.context import PruningContext
from trainables.pruning.gates import TrainedGates
from trainables.pruning.probe_order import removals

Scores = Mapping[str, Tensor]  # part name -> (units,), finite
BATCH = 64  # samples at a time: bounds the memory that gradients take


def l1(context: PruningContext) -> Scores:
    """Sum of absolute weights of a unit (Li et al., arXiv 1608.08710); for a single weight, its magnitude."""
    return {name: unit.abs().sum(1) for name, unit in context.prunable.members(weight_of).items()}


def l2(context: PruningContext) -> Scores:
    """Euclidean norm of a unit's weights."""
    return {name: unit.norm(dim=1) for name, unit in context.prunable.members(weight_of).items()}


def bn_scale(context: PruningContext) -> Scores:
    """Magnitude of the batch norm's scale behind a channel (network slimming, Liu et al., arXiv 1708.06519).

    Of several batch norms that scale a unit, the mean: our choice. Raises ValueError for a part that none scales.
    """
    assert isinstance(context.prunable, Channels)
    scales = context.prunable.scales()
    for part in context.prunable.parts:
        if part.name not in scales:
            raise ValueError(
                f"criterion 'bn-scale' must find a batch norm behind every channel, but {part.name} has none; use 'l1'"
            )
    return {name: scale.abs().mean(1) for name, scale in scales.items()}


def taylor(context: PruningContext) -> Scores:
    """First-order change of the loss, sum |w dL/dw| over a unit's weights.

    After Molchanov et al. (arXiv 1906.10771), in the form that Torch-Pruning gives it.
    """
    return {name: unit.abs().sum(1) for name, unit in _saliencies(context).items()}


def snip(context: PruningContext) -> Scores:
    """Sensitivity of the loss to a gate on the unit, |dL/dm| = |sum w dL/dw|, as a share of all units' (SNIP).

    Lee et al. (arXiv 1810.02340) gate single weights, which it ranks as `taylor` does; a gate on all of a channel's
    weights, where the signs count, is our reading.
    """
    gates = {name: unit.sum(1).abs() for name, unit in _saliencies(context).items()}
    total = sum(gate.sum(dtype=torch.float64).item() for gate in gates.values())
    return {name: gate / (total or 1.0) for name, gate in gates.items()}


def _saliencies(context: PruningContext) -> dict[str, Tensor]:
    """w dL/dw of every weight: part name -> (units, elements)."""
    gradients = weight_gradients(context)
    owners = {context.prunable.model.get_submodule(name): gradient for name, gradient in gradients.items()}
    return context.prunable.members(lambda module: weight_of(module) * owners[module])


def group_norm(context: PruningContext) -> Scores:
    """Squared norm of all that goes along with a channel, over the mean of its part (DepGraph, arXiv 2301.12900).

    Filters, batch norms' scales and slices of the layers that read it count alike, as in Torch-Pruning; filters of
    depthwise convolutions, which that leaves out, count too.
    """
    assert isinstance(context.prunable, Channels)
    squares = {name: unit.double().square().sum(1) for name, unit in context.prunable.coupled().items()}
    return {name: unit / unit.mean().clamp(min=torch.finfo(unit.dtype).tiny) for name, unit in squares.items()}


def gates(context: PruningContext) -> Scores:
    """Value of the trainable gate on a channel, trained for the trial's budget (Kim et al., arXiv 1904.10921)."""
    gating: TrainedGates = context.artifact("gates")
    return gating.values


def probe(context: PruningContext) -> Scores:
    """How long a block stays while those whose linear probes gain least go (after Chen & Zhao, TPAMI 41(12), 2019).

    A gain is that of accuracy over the last block still kept; the score counts the blocks that have gone before.
    """
    blocks = context.prunable
    assert isinstance(blocks, Blocks)
    accuracies = {probed.name: probed.val_accuracy for probed in context.artifact("probe")}
    order = removals([accuracies[block.name] for block in blocks.chain], blocks.fixed)
    survived = {blocks.chain[place].name: float(gone) for gone, (place, _) in enumerate(order)}
    return {name: torch.tensor([survived[unit.block.name] for unit in units]) for name, units in blocks.stages.items()}


def random(context: PruningContext) -> Scores:
    """Control: uniform noise, the same for a seed."""
    generator = torch.Generator().manual_seed(context.seed)
    return {part.name: torch.rand(part.units, generator=generator) for part in context.prunable.parts}


def weight_gradients(context: PruningContext) -> dict[str, Tensor]:
    """Differentiate the mean cross-entropy over all calibration samples, in eval mode.

    Returns layer name -> gradient (float32, of the weight's shape) for every layer that units are made of. The model
    stays as it is.
    """
    model, samples = context.prunable.model, context.samples
    names = {layer.name: None for part in context.prunable.parts for layer in part.layers}
    weights = [weight_of(model.get_submodule(name)) for name in names]
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    with eval_mode(model), torch.enable_grad():
        for images, labels in samples.batches(BATCH):
            loss = F.cross_entropy(model(images), labels, reduction="sum")
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
                total += gradient
    return {name: total / len(samples.labels) for name, total in zip(names, sums, strict=True)}


CRITERIA: Mapping[str, Callable[[PruningContext], Scores]] = {  # `names.CRITERION_NEEDS` says what each one needs
    "magnitude": l1,
    "l1": l1,
    "l2": l2,
    "bn-scale": bn_scale,
    "taylor": taylor,
    "snip": snip,
    "group-norm": group_norm,
    "gates": gates,
    "probe": probe,
    "random": random,
}
