"""AlphaPruning: sparsities from how heavy the tails of the weights' spectra are."""

import numpy as np
import torch
from torch import Tensor

from trainables.allocation.budget import Path, dense_counts
from trainables.allocation.problem import Problem

SPREAD = 0.2  # of relative sparsities about 1, the paper's for vision


def alpha_pruning(problem: Problem) -> Path:
    """Sparsity rises linearly with the tail exponent of a layer's spectrum (AlphaPruning, NeurIPS 2024, 2410.10912).

    Relative sparsities range from 0.8 (heaviest tail) to 1.2; one factor for all meets the budget. Ours: a part stops
    at its floor, coupled layers take their mean exponent, and a spectrum without a tail counts as the lightest.
    """
    model, parts = problem.prunable.model, problem.prunable.parts
    exponents = {
        layer.name: tail_exponent(layer.of(model.get_parameter(layer.parameter)))
        for part in parts
        for layer in part.layers
    }
    lightest = max((a for a in exponents.values() if np.isfinite(a)), default=1.0)
    alphas = np.array([np.mean([min(exponents[layer.name], lightest) for layer in part.layers]) for part in parts])
    heaviest, extent = alphas.min(), np.ptp(alphas)
    relative = 1.0 - SPREAD + 2.0 * SPREAD * (alphas - heaviest) / extent if extent > 0 else np.ones(len(parts))
    units = dense_counts(problem.prunable)
    return lambda scale: (1.0 - relative / scale) * units


def tail_exponent(weight: Tensor) -> float:
    """Hill's estimate 1 + n / sum ln(l / l_min) over the n squared singular values l from their median on.

    weight: (n_out, n_in) or (n_out, n_in, kh, kw) and the like. The latter is kh kw matrices of one spectrum; the
    authors' scale of these does not change the estimate. Ours: values that are zero in the weight's precision are left
    out. The result is infinite where the tail has no extent.
    """
    matrices = weight.detach().double().flatten(2).movedim(2, 0) if weight.dim() > 2 else weight.detach().double()
    singular = torch.linalg.svdvals(matrices).flatten()
    rank_floor = singular.max() * max(matrices.shape[-2:]) * torch.finfo(weight.dtype).eps
    spectrum = singular[singular > rank_floor].square().sort().values
    tail = spectrum[len(spectrum) // 2 :]
    extent = (tail / tail[:1]).log().sum().item()
    return 1.0 + len(tail) / extent if extent > 0 else float("inf")
