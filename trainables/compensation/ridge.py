"""Ridge regression with zeros that stay: each output of a layer keeps its own inputs."""

import torch
from torch import Tensor

MOST_STEPS = 1000  # of conjugate gradients; some tens are usual


class MaskedRidge:
    """Fits the kept weights of a layer to its targets by least squares; all other weights become 0.

    Each row w of a fit minimises the sum over samples of (t - w x)^2, plus d |w - w0|^2, over its kept entries, where
    w0 is its row before the fit and d is `damping` times the mean square of an input, summed over the samples.
    Rows that keep the same entries have one Cholesky factorisation. Conjugate gradients solve all other rows together:
    a step is one matrix product. What depends on the samples alone is computed once for all fits.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, damping: float) -> None:
        """inputs: (groups, samples, width). targets: (groups, samples, rows). damping: above 0."""
        squares = inputs.square().sum(1)  # (groups, width)
        self._pull = damping * squares.mean(1)[:, None, None]
        scale = squares[:, None] + self._pull  # the diagonal of the system, which preconditions it
        self._scale = torch.where(scale > 0, scale, 1.0)  # all inputs of a group may be 0
        self._inputs = inputs
        wide = inputs.shape[2] > 2 * inputs.shape[1]  # then two products with the inputs are cheaper than with a square
        self._gram = None if wide else inputs.mT @ inputs
        self._right = targets.mT @ inputs

    def fit(self, weight: Tensor, kept: Tensor) -> Tensor:
        """Return the fitted weights: (groups, rows, width).

        weight: (groups, rows, width), before the fit. kept: the same shape, bool. A row's gradient is at most 3e-4 of
        that at w = 0 in float32, 2e-8 in float64.
        """
        right = self._right + self._pull * weight
        solution = weight * kept
        residual = (right - self._system(solution)) * kept
        tiny = torch.finfo(weight.dtype).tiny
        limit = torch.finfo(weight.dtype).eps ** 0.5 * right.norm(dim=2)
        if self._gram is not None and bool((residual.norm(dim=2) > limit).any() & (kept == kept[:, :1]).all()):
            solution = solution + self._factored(self._gram, residual, kept[:, 0])
            residual = (right - self._system(solution)) * kept
        direction, before = torch.zeros_like(solution), torch.ones_like(limit)
        for _ in range(MOST_STEPS):
            if bool((residual.norm(dim=2) <= limit).all()):
                break
            downhill = residual / self._scale
            now = (residual * downhill).sum(2)
            direction = downhill + (now / before)[:, :, None] * direction
            image = self._system(direction) * kept
            step = (now / (direction * image).sum(2).clamp_min(tiny))[:, :, None]
            solution, residual = solution + step * direction, residual - step * image
            before = now.clamp_min(tiny)
        return solution

    def _factored(self, gram: Tensor, right: Tensor, kept: Tensor) -> Tensor:
        """Solve the system of all rows at once. right: (groups, rows, width). kept: (groups, width)."""
        alone = torch.where(self._pull > 0, self._pull, 1.0)  # an entry that goes has 0 on the right
        system = gram * (kept[:, None] & kept[:, :, None]) + alone * torch.eye(kept.shape[1], device=gram.device)
        return torch.cholesky_solve(right.mT, torch.linalg.cholesky(system)).mT

    def _system(self, rows: Tensor) -> Tensor:
        product = rows @ self._inputs.mT @ self._inputs if self._gram is None else rows @ self._gram
        return product + self._pull * rows
