"""Ridge regression with zeros that stay: each output of a layer keeps its own inputs."""

import torch
from torch import Tensor

MOST_STEPS = 1000  # of conjugate gradients; some tens are usual


def masked_ridge(weight: Tensor, kept: Tensor, inputs: Tensor, targets: Tensor, damping: float) -> Tensor:
    """Fit the kept weights of a layer to its targets by least squares; all other weights become 0.

    Each row w of the result minimises the sum over samples of (t - w x)^2, plus d |w - w0|^2, over its kept entries,
    where w0 is its row of `weight` and d is `damping` times the mean square of an input, summed over the samples.
    Conjugate gradients solve all rows together, as rows with different kept entries have no common factorisation: a
    step is one matrix product.

    Args:
        weight: (groups, rows, width), the weights before the fit.
        kept: (groups, rows, width) bool.
        inputs: (groups, samples, width).
        targets: (groups, samples, rows).
        damping: above 0.

    Returns:
        (groups, rows, width). A row's gradient is at most 3e-4 of that at w = 0 in float32, 2e-8 in float64.
    """
    squares = inputs.square().sum(1)  # (groups, width)
    pull = damping * squares.mean(1)[:, None, None]
    scale = squares[:, None] + pull  # the diagonal of the system, which preconditions it
    scale = torch.where(scale > 0, scale, 1.0)  # all inputs of a group may be 0
    wide = inputs.shape[2] > 2 * inputs.shape[1]  # then two products with the inputs are cheaper than one with a square
    gram = inputs if wide else inputs.mT @ inputs

    def system(rows: Tensor) -> Tensor:
        return (rows @ inputs.mT @ inputs if wide else rows @ gram) + pull * rows

    right = targets.mT @ inputs + pull * weight
    solution = weight * kept
    residual = (right - system(solution)) * kept
    tiny = torch.finfo(inputs.dtype).tiny
    limit = torch.finfo(inputs.dtype).eps ** 0.5 * right.norm(dim=2)
    direction, before = torch.zeros_like(solution), torch.ones_like(limit)
    for _ in range(MOST_STEPS):
        if bool((residual.norm(dim=2) <= limit).all()):
            break
        downhill = residual / scale
        now = (residual * downhill).sum(2)
        direction = downhill + (now / before)[:, :, None] * direction
        image = system(direction) * kept
        step = (now / (direction * image).sum(2).clamp_min(tiny))[:, :, None]
        solution, residual = solution + step * direction, residual - step * image
        before = now.clamp_min(tiny)
    return solution
