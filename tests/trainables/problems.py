"""Problems for policies: small networks, networks without memory for weights, and profiles of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import Profile
from trainables.models import hub
from trainables.models.layers import weight_of
from trainables.names import Source
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.granularity import Counts, Prunable
from trainables.pruning.masks import Weights
from trainables.spec import BudgetKind

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class Abreast(nn.Module):
    """Parallel linear layers. Each gets the input number at all its inputs; their outputs are concatenated."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x.expand(len(x), weight_of(layer).shape[1])) for layer in self.layers], 1)


def linears(*matrices: Any) -> Weights:
    """Make a network with one linear layer for each matrix of weights (n_out, n_in)."""
    layers = []
    for matrix in matrices:
        weight = torch.as_tensor(matrix, dtype=torch.float32)
        layers.append(nn.Linear(weight.shape[1], weight.shape[0], bias=False))
        layers[-1].weight.data = weight
    return Weights(Abreast(layers), torch.zeros(1, 1))


def vgg16() -> Weights:
    """Make VGG-16 for CIFAR-10 without memory for its weights."""
    with torch.device("meta"):
        return Weights(hub.build("vgg16", 10, 3), torch.zeros(1, 3, 32, 32))


def problem(
    prunable: Prunable,
    sparsity: float = 0.5,
    kind: BudgetKind = "params",
    *,
    seed: int = 0,
    calibration: Calibration | None = None,
    profile: Profile | None = None,
    **known: Any,
) -> Problem:
    shared: dict[Source, Any] = {} if profile is None else {"profile": profile}
    return Problem(PruningContext(prunable, seed, calibration, shared), {}, sparsity, kind, **known)


def quotas(policy: str, posed: Problem) -> Counts:
    """Return the units that a policy keeps of each part: (parts,)."""
    return np.array(list(allocate(POLICIES[policy], posed).values()))


def profile(levels: Iterable[float], curves: Iterable[Iterable[float]], prunable: Prunable) -> Profile:
    """Make a profile with a dense accuracy of 90 %, in which all measures of a part lose the same at each level.

    curves: (parts, levels), the losses; each begins with 0.
    """
    losses = {part.name: tuple(curve) for part, curve in zip(prunable.parts, curves, strict=True)}
    accuracy = {name: tuple(0.9 - loss for loss in curve) for name, curve in losses.items()}
    return Profile(tuple(levels), 0.9, accuracy, losses, losses, losses)


def random_profile(prunable: Prunable, seed: int = 0) -> Profile:
    """Make a profile with random convex curves."""
    random = np.random.default_rng(seed)
    curves = [0.8 * random.uniform() * np.power(LEVELS, random.uniform(1.0, 6.0)) for _ in prunable.parts]
    return profile(LEVELS, curves, prunable)
