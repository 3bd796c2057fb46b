"""Accuracy without training: estimate batch-norm statistics again after pruning."""

from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.arguments import call
from trainables.data.batches import Resident, train_batches
from trainables.training.train import autocast


@torch.no_grad()
def recalibrate(model: nn.Module, data: Resident, batches: int, batch_size: int, seed: int) -> None:
    """Re-estimate batch-norm statistics in place, from at most `batches` training batches and at most one pass.

    This is the adaptive batch norm of EagleEye (arXiv 2007.02491): forward passes without gradient, with batch norm in
    training mode, over about 100 batches of training samples. It reads no validation or test samples. Ours: the old
    statistics are forgotten, the batches have equal weight, images are not augmented, and dropout is off.

    batches: 0 leaves the statistics as they are. batch_size: images in a batch. seed: of the order of the samples. The
    network returns to the mode that it was in.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms or batches == 0:
        return
    training = model.training
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in islice(train_batches(data, batch_size, "none", seed), batches):
        with autocast(data.device):
            call(model, batch.inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)
