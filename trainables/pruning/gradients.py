"""How the loss changes with each weight, measured on the calibration samples."""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.models.layers import undisturbed, weight_of
from trainables.pruning.context import Subject

BATCH = 64  # samples at a time: what the gradients take in memory


def weight_gradients(subject: Subject) -> dict[str, Tensor]:
    """Differentiate the mean cross-entropy over all calibration samples, in eval mode.

    Returns layer name -> gradient (float32, of the weight's shape) for every layer that units are made of. The model
    stays as it is.
    """
    model, samples = subject.prunable.model, subject.samples
    names = {layer.name: None for part in subject.prunable.parts for layer in part.layers}
    weights = [weight_of(model.get_submodule(name)) for name in names]
    sums = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    with undisturbed(model), torch.enable_grad():
        for images, labels in samples.batches(BATCH):
            loss = F.cross_entropy(model(images), labels, reduction="sum")
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True):
                total += gradient
    return {name: total / len(samples.labels) for name, total in zip(names, sums, strict=True)}
