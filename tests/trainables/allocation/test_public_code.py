"""Rivals beside the public code of their authors: on one network, both keep as many weights of each layer.

The numbers are what the public code keeps: Synaptic-Flow (SNIP, SynFlow), RD_PRUNE (LAMP, ERK, global magnitude,
Uniform+; its code of these is that of LAMP's authors), AlphaPruning (exponents of spectra). `test_from_profiles.py` has
RDP's, `test_from_shapes.py` those of IGQ.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainables.problems import problem, quotas
from trainables.allocation.spectral import tail_exponent
from trainables.models.layers import weight_of
from trainables.pruning.context import Calibration
from trainables.pruning.masks import Weights

WIDTHS, SCALES = (12, 20, 16, 5), (1.0, 0.3, 2.0)
KEPT = {  # policy and sparsity -> weights of the three layers
    ("snip", 0.5): [136, 137, 47],
    ("snip", 0.6): [108, 107, 41],
    ("snip", 0.8): [48, 55, 25],
    ("synflow", 0.5): [120, 136, 64],
    ("synflow", 0.6): [94, 104, 58],
    ("synflow", 0.8): [47, 43, 38],
    ("lamp", 0.5): [115, 146, 59],
    ("lamp", 0.6): [90, 109, 57],
    ("lamp", 0.8): [45, 47, 36],
    ("erk", 0.5): [115, 129, 76],
    ("erk", 0.6): [92, 104, 60],
    ("erk", 0.8): [46, 52, 30],
    ("global", 0.5): [186, 62, 72],
}


def wave(size: int, scale: float, shift: int) -> Tensor:
    """Make numbers that any code can make again."""
    return (scale * torch.cos(torch.arange(1, size + 1, dtype=torch.float64) ** 1.5 + shift)).float()


def chain() -> nn.Sequential:
    """Make three linear layers with ReLUs between them."""
    modules: list[nn.Module] = []
    for shift, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        layer = nn.Linear(inputs, outputs, bias=False)
        layer.weight.data = wave(inputs * outputs, SCALES[shift], shift).view(outputs, inputs)
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.parametrize(("policy", "sparsity"), KEPT)
def test_a_rival_keeps_what_its_public_code_keeps(policy: str, sparsity: float) -> None:
    samples = Calibration((wave(96, 1.0, 7).view(8, 12), torch.arange(8) % 5))
    prunable = Weights(chain().eval(), samples.images[:1])
    keep = quotas(policy, problem(prunable, sparsity, calibration=samples))
    np.testing.assert_allclose(keep, KEPT[policy, sparsity], atol=1)  # ties and rounding


def test_global_magnitude_stops_at_the_floors_where_the_public_code_empties_a_layer() -> None:
    keep = quotas("global", problem(Weights(chain(), torch.zeros(1, 12)), 0.8))
    assert keep[1] == 16  # one weight for each output; the public code keeps 69, 0 and 59
    assert keep.sum() == 128


@pytest.mark.parametrize(("sparsity", "keep"), [(0.5, [216, 170.8, 79.07, 158.14]), (0.68, [216, 70.41, 32.59, 80])])
def test_uniform_plus_of_convolutions_keeps_what_the_public_code_keeps(sparsity: float, keep: list[float]) -> None:
    convolutions = nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.Conv2d(6, 8, 3, bias=False), nn.Flatten())
    layers = (nn.Linear(8, 25, bias=False), nn.Linear(25, 16, bias=False))  # of 200 and 400 weights
    prunable = Weights(nn.Sequential(*convolutions, *layers), torch.zeros(1, 4, 5, 5))
    assert [part.units for part in prunable.parts] == [216, 432, 200, 400]
    np.testing.assert_allclose(quotas("uniform-plus", problem(prunable, sparsity)), keep, atol=1)


def test_exponents_of_spectra_are_those_of_the_public_code() -> None:
    kernel = wave(216, 1.0, 3).view(6, 4, 3, 3)
    weights = [weight_of(layer) for layer in chain() if isinstance(layer, nn.Linear)]
    public = [3.2518608570098877, 3.627159595489502, 4.189905166625977, 2.698707103729248]
    np.testing.assert_allclose([tail_exponent(weight) for weight in (*weights, kernel)], public, rtol=1e-4)
