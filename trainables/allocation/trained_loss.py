"""What the whole network loses under an allocation once a short training has begun to repair it."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts
from trainables.spec import Recipe
from trainables.training.train import sgd, zero

STEPS = 20  # of training, at least: whole passes through the samples (ours)
BATCH = 64  # samples of a step, at most (ours)


class TrainedLoss:
    """The mean divergence (nats) from the dense network's predictions over the steps of a short training.

    The training is the trial's fine-tuning with its first learning rate, on the calibration samples, towards the dense
    network's predictions instead of labels, without augmentation and dropout. The losses of all steps count, not only
    the last one: their sum predicts what a long training ends at (arXiv 2006.04492).
    """

    def __init__(self, problem: Problem, untrained: MeasuredLoss, recipe: Recipe) -> None:
        """untrained: measures and restores the network that the training starts from."""
        self._problem = problem
        self._untrained = untrained
        self._recipe = recipe
        self._known: dict[bytes, float] = {}

    def __call__(self, keep: Counts) -> float:
        """Measure an allocation. It is infinite where the training diverges."""
        if (key := keep.tobytes()) not in self._known:
            masks = self._untrained.prune(keep)
            self._known[key] = self._mean_loss(masks)
        return self._known[key]

    def _mean_loss(self, masks: dict[str, Tensor]) -> float:
        """Train the network as it is now. masks: name of a parameter -> the weights that stay."""
        model, samples = self._problem.prunable.model, self._problem.context.samples
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        modes = [norm.training for norm in norms]
        parameters = dict(model.named_parameters())
        optimizer = sgd(model, self._recipe)
        draw = torch.Generator().manual_seed(self._problem.context.seed)
        size = min(BATCH, self._recipe.batch_size, len(samples.images))
        steps = len(samples.images) // size
        losses = []
        try:
            for norm in norms:
                norm.train()
            for _ in range(math.ceil(STEPS / steps)):
                images = samples.all_images()
                order = torch.randperm(len(images), generator=draw)[: steps * size].to(images.device)
                for batch in order.split(size):
                    loss = F.kl_div(
                        model(images[batch]).float().log_softmax(1),
                        self._untrained.dense[batch],
                        reduction="batchmean",
                        log_target=True,
                    )
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    zero([parameters[name] for name in masks], list(masks.values()))
                    losses.append(loss.detach())
        finally:
            model.zero_grad(set_to_none=True)
            for norm, mode in zip(norms, modes, strict=True):
                norm.train(mode)
        mean = float(torch.stack(losses).mean())
        return mean if math.isfinite(mean) else math.inf
