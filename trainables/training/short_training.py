"""A short training on the calibration samples: a cheap look at what a longer training will reach."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.arguments import outputs_of, take
from trainables.models.layers import Masks
from trainables.pruning.context import Calibration
from trainables.recipe import Recipe
from trainables.training.updates import Updates

STEPS = 20  # of training, at least: whole passes through the samples (ours)
BATCH = 64  # samples of a step, at most (ours)


def short_training(
    model: nn.Module,
    masks: Masks,
    dense: Tensor,
    samples: Calibration,
    recipe: Recipe,
    seed: int,
    most: float = math.inf,
) -> float:
    """Train a pruned network for a moment, in place. Return its mean distance from the dense network.

    The training is fine-tuning by `recipe` at its highest learning rate, on the calibration samples, towards the dense
    network's outputs instead of labels, without augmentation and dropout. The losses of all steps count, not only
    the last one: their sum predicts what a long training ends at (arXiv 2006.04492).

    model: in eval mode, but for its batch norms, which may be in any. masks: name of a parameter -> bool, True where a
    weight stays. dense: its outputs for the samples, as `Distance.reference` prepares them. seed: of the order of the
    samples. most: the training ends early once its mean is sure to exceed this. The loss is infinite then, and where
    the training diverges.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    modes = [norm.training for norm in norms]
    updates = Updates(model, recipe.model_copy(update={"ema": 0.0}), masks)
    updates.set_progress(recipe.warmup / max(recipe.epochs, 1))  # the highest learning rate
    draw = torch.Generator().manual_seed(seed)
    size = min(BATCH, recipe.batch_size, len(samples))
    steps = len(samples) // size
    passes = math.ceil(STEPS / steps)
    losses = list[Tensor]()
    try:
        for norm in norms:
            norm.train()
        for _ in range(passes):
            if losses and float(torch.stack(losses).sum()) / (passes * steps) > most:
                return math.inf
            inputs = samples.all_inputs()
            order = torch.randperm(len(samples), generator=draw)[: steps * size].to(dense.device)
            for batch in order.split(size):
                outputs = outputs_of(model, take(inputs, batch))
                loss = samples.objective.distance.mean(dense[batch], outputs)
                updates.step(loss)
                losses.append(loss.detach())
    finally:
        model.zero_grad(set_to_none=True)
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)
    mean = float(torch.stack(losses).mean())
    return mean if math.isfinite(mean) else math.inf
