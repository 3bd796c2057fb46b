"""Four simple readings of capacity: each part's share follows from its importance ("How Compact?", arXiv 1901.02757).

The open text of that paper gives the idea, not the formula. These are our readings, not the paper's formula.
"""

import numpy as np
import torch
from torch import Tensor

from trainables.allocation.budget import Path, proportional
from trainables.allocation.output_variance import output_variances
from trainables.allocation.problem import Problem
from trainables.allocation.ranked import TINY, by_score, squared_norms

CODES = 16  # levels that C2 quantises weights to
NOISE = 0.01  # variance of the noise in C4
LEAST = 1e-3  # importance of a part without any, in the unit of the reading


def energy(problem: Problem) -> Path:
    """Reading C1: one threshold on a unit's squared norm over the squared norm of its whole part.

    A part uses the sum of its squared weights as capacity; every part loses the same marginal share. Data-free.
    """
    return by_score(problem, {name: q / q.sum().clamp_min(TINY) for name, q in squared_norms(problem).items()})


def coding(problem: Problem) -> Path:
    """Reading C2: density in proportion to the bits that code a weight, quantised to 16 levels over its layer's range.

    The bits are the entropy of the levels. A part of several layers takes the mean over its weights. Data-free.
    """
    model = problem.prunable.model
    bits = [
        sum(layer.size * entropy(layer.of(model.get_parameter(layer.parameter))) for layer in part.layers)
        / sum(layer.size for layer in part.layers)
        for part in problem.prunable.parts
    ]
    return proportional(problem.prunable.parts, np.maximum(bits, LEAST))


def entropy(weight: Tensor) -> float:
    """Compute the entropy in bits of a tensor's values, quantised to `CODES` equal steps of their range."""
    shares = torch.histc(weight.detach().float(), CODES) / weight.numel()
    return float(torch.special.entr(shares).sum() / np.log(2.0))


def functional(problem: Problem) -> Path:
    """Reading C3: density in proportion to the importance I = integral over s of 1 - A(s)/A(0), by trapezoid.

    A(s) is the share of right answers on calibration samples with only this part pruned to sparsity s.
    """
    profile = problem.measured
    right = profile.right or profile.accuracy  # an older profile has no shares; its accuracy is the same
    shares = np.array([right[part.name] for part in problem.prunable.parts])
    damage = 1.0 - shares / np.maximum(shares[:, :1], 1e-12)
    importance = np.trapezoid(damage, profile.levels, axis=1)
    return proportional(problem.prunable.parts, np.maximum(importance, LEAST))


def information(problem: Problem) -> Path:
    """Reading C4: density in proportion to the bits 0.5 log2(1 + v / 0.01) of an output channel of variance v.

    A part takes the mean over its channels. v is the squared scale of the batch norm behind the layer; without a batch
    norm it is the variance measured on calibration samples.
    """
    variances = output_variances(problem.context)
    bits = [
        torch.cat([0.5 * (1.0 + variances[layer.name] / NOISE).log2() for layer in part.layers]).mean().item()
        for part in problem.prunable.parts
    ]
    return proportional(problem.prunable.parts, np.maximum(bits, LEAST))
