"""Criteria: one score for each unit of a granularity. Units of lowest score are removed first."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from trainables.arguments import outputs_of
from trainables.models.modes import eval_mode
from trainables.own_function import is_external
from trainables.plugins import load
from trainables.pruning.blocks import Blocks
from trainables.pruning.channels import Channels
from trainables.pruning.context import PruningContext
from trainables.pruning.gates import TrainedGates
from trainables.pruning.probe_order import removals

Scores = Mapping[str, Tensor]  # part name -> (units,), finite
BATCH = 64  # samples at a time; bounds the memory of gradients


def l1(context: PruningContext) -> Scores:
    """Sum of a unit's absolute weights; for a single weight, its magnitude (Li et al., arXiv 1608.08710)."""
    return {name: unit.abs().sum(1) for name, unit in _weights(context).items()}


def l2(context: PruningContext) -> Scores:
    """Euclidean norm of a unit's weights."""
    return {name: unit.norm(dim=1) for name, unit in _weights(context).items()}


def bn_scale(context: PruningContext) -> Scores:
    """Magnitude of the batch norm's scale behind a channel (network slimming, Liu et al., arXiv 1708.06519).

    Ours: a unit with several batch norms scores their mean. Raises ValueError for a part without a batch norm.
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
    """First-order change of the loss: the sum of |w dL/dw| over a unit's weights (Molchanov et al., arXiv 1906.10771).

    This is Torch-Pruning's form of it.
    """
    return {name: unit.abs().sum(1) for name, unit in _saliencies(context).items()}


def snip(context: PruningContext) -> Scores:
    """Sensitivity of the loss to a gate m = 1 on the unit: |dL/dm| = |sum w dL/dw| (SNIP, arXiv 1810.02340).

    Scores are divided by their sum over the network. Lee et al. gate single weights, which this criterion ranks as
    `taylor` does. Our reading for larger units: one gate multiplies all weights of the unit, so that signs count.
    """
    gates = {name: unit.sum(1).abs() for name, unit in _saliencies(context).items()}
    total = sum(gate.sum(dtype=torch.float64).item() for gate in gates.values())
    return {name: gate / (total or 1.0) for name, gate in gates.items()}


def _saliencies(context: PruningContext) -> dict[str, Tensor]:
    """Compute w dL/dw of every weight: part name -> (units, elements)."""
    gradients, model = weight_gradients(context), context.prunable.model
    return context.prunable.members(lambda name: model.get_parameter(name) * gradients[name])


def _weights(context: PruningContext) -> dict[str, Tensor]:
    """Gather the weights of each unit: part name -> (units, elements)."""
    return context.prunable.members(context.prunable.model.get_parameter)


def group_norm(context: PruningContext) -> Scores:
    """Squared norm of all weights coupled to a channel, over the mean of its part (DepGraph, arXiv 2301.12900).

    The filters, the batch norms' scales and the weights that read the channel count equally, as in Torch-Pruning. Ours:
    filters of depthwise convolutions count, too; Torch-Pruning leaves them out.
    """
    assert isinstance(context.prunable, Channels)
    squares = {name: unit.double().square().sum(1) for name, unit in context.prunable.coupled_parameters().items()}
    return {name: unit / unit.mean().clamp(min=torch.finfo(unit.dtype).tiny) for name, unit in squares.items()}


def gates(context: PruningContext) -> Scores:
    """Value of a channel's trainable gate, trained for the budget of the trial (Kim et al., arXiv 1904.10921)."""
    trained: TrainedGates = context.artifact("gates")
    return trained.values


def probe(context: PruningContext) -> Scores:
    """Rank of a block in the order of removal by least gain of a linear probe (after Chen & Zhao, TPAMI 41(12), 2019).

    The gain of a block is its probe's accuracy minus the accuracy of the last kept block before it, as in
    `removals`. The score of a block is the number of blocks that are removed before it.
    """
    blocks = context.prunable
    assert isinstance(blocks, Blocks)
    accuracies = {result.name: result.val_accuracy for result in context.artifact("probe")}
    order = removals([accuracies[block.name] for block in blocks.chain], blocks.fixed)
    ranks = {blocks.chain[position].name: float(rank) for rank, (position, _) in enumerate(order)}
    return {name: torch.tensor([ranks[unit.block.name] for unit in units]) for name, units in blocks.stages.items()}


def random(context: PruningContext) -> Scores:
    """Control: uniform random scores, the same for a seed."""
    generator = torch.Generator().manual_seed(context.seed)
    return {part.name: torch.rand(part.units, generator=generator) for part in context.prunable.parts}


def weight_gradients(context: PruningContext) -> dict[str, Tensor]:
    """Differentiate the mean loss over all calibration samples, in eval mode.

    Returns parameter name -> gradient (float32, its shape) for every layer with units. The model is not changed.
    """
    model, samples = context.prunable.model, context.samples
    names = {layer.parameter: None for part in context.prunable.parts for layer in part.layers}
    weights = [model.get_parameter(name) for name in names]
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    with eval_mode(model), torch.enable_grad():
        for batch in samples.batches(BATCH):
            outputs = outputs_of(model, samples.objective.inputs(batch))
            loss = samples.objective.losses(outputs, batch).sum()
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
                total += gradient
    return {name: total / len(samples) for name, total in zip(names, sums, strict=True)}


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


def criterion(name: str) -> Callable[[PruningContext], Scores]:
    """Find a criterion: one of the catalog, or a function of the user's own. Raises ValueError as `plugins.load`."""
    return load("criterion", name) if is_external(name) else CRITERIA[name]
