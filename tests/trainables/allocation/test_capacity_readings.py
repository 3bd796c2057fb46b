import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainables.problems import linears, problem, profile, quotas
from trainables.allocation.budget import spend
from trainables.allocation.capacity_readings import coding, energy, entropy, functional, information
from trainables.allocation.output_variance import output_variances
from trainables.pruning.context import Calibration, PruningContext
from trainables.pruning.masks import Weights


def test_energies_of_1_2_3_are_their_squares_over_14() -> None:
    path = energy(problem(linears([[3.0, 1.0, 2.0]], [[5.0, 5.0]])))  # 9/14, 4/14, 1/14 and 1/2, 1/2
    for share, below, at in ((9 / 14, [0, 0], [1, 0]), (1 / 2, [1, 0], [1, 2]), (4 / 14, [1, 2], [2, 2])):
        assert path(9 / 14 / share * 0.999).tolist() == below
        assert path(9 / 14 / share * 1.001).tolist() == at
    assert path(9 * 0.999).tolist() == [2, 2]
    assert path(9 * 1.001).tolist() == [3, 2]


@pytest.mark.parametrize("seed", range(5))
def test_energy_keeps_the_largest_share_of_every_layer_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrices = [random.normal(0, scale, (1, n)) for scale, n in ((1.0, 4), (10.0, 6), (0.1, 3))]
    prunable = linears(*matrices)
    path = energy(problem(prunable))
    shares = [np.sort((m**2 / (m**2).sum()).ravel())[::-1] for m in matrices]
    for budget in range(3, 14):
        choices = itertools.product(*(range(1, len(s) + 1) for s in shares))
        best = max(
            (keep for keep in choices if sum(keep) == budget),
            key=lambda keep: sum(s[:k].sum() for s, k in zip(shares, keep, strict=True)),
        )
        assert tuple(spend(path, prunable, budget, "params")) == best


def test_energy_survives_a_layer_of_zeros() -> None:
    prunable = linears([[0.0, 0.0, 0.0, 0.0]], [[1.0, 2.0]])
    assert quotas("capacity-energy", problem(prunable, 0.5)).tolist() == [1, 2]


def test_entropy_is_of_16_levels_over_the_range() -> None:
    assert entropy(torch.arange(16.0)) == pytest.approx(4.0)
    assert entropy(torch.tensor([-1.0, 1.0, 1.0, -1.0])) == pytest.approx(1.0)
    assert entropy(torch.tensor([0.0, 0.01, 0.5, 1.0])) == pytest.approx(1.5)  # two of four share a level
    assert entropy(torch.full((5,), 0.3)) == 0.0


def test_coding_gives_density_in_proportion_to_the_bits() -> None:
    prunable = linears([list(range(16)) * 2], [[-1.0, 1.0] * 20], [[0.7] * 10])
    np.testing.assert_allclose(coding(problem(prunable))(1.0), [32, 40 / 4, 10 * 1e-3 / 4])


def test_functional_importance_is_the_trapezoid_of_the_damage() -> None:
    prunable = linears([[1.0] * 100], [[1.0] * 100], [[1.0] * 100])
    losses = ((0.0, 0.45, 0.9), (0.0, 0.0, 0.45), (0.0, -0.05, -0.05))  # over 0.9: (0, .5, 1), (0, 0, .5), negative
    path = functional(problem(prunable, profile=profile((0.0, 0.25, 1.0), losses, prunable)))
    # 0.25 * (0 + .5) / 2 + 0.75 * (.5 + 1) / 2 = 0.625 and 0.75 * .5 / 2 = 0.1875
    np.testing.assert_allclose(path(1.0), [100, 100 * 0.1875 / 0.625, 100 * 1e-3 / 0.625])


class Mixed(nn.Module):
    """A convolution with a batch norm after it, a convolution without, and a linear layer on tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.plain, self.tokens = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        signal: torch.Tensor = self.tokens(self.plain(self.norm(self.scaled(x)).relu_()).flatten(2).mT).mean(1)
        return signal


def test_variances_are_those_of_the_batch_norm_or_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = Mixed()
    model.norm.weight.data = torch.tensor([0.5, -1.0, 2.0])
    samples = Calibration((torch.randn(10, 1, 8, 8), torch.zeros(10, dtype=torch.int64)))
    monkeypatch.setattr("trainables.allocation.output_variance.BATCH", 4)
    before = copy.deepcopy(model.state_dict())
    variances = output_variances(PruningContext(Weights(model, samples.images[:1]), calibration=samples))
    assert variances["scaled"].tolist() == [0.25, 1.0, 4.0]
    model.eval()
    with torch.no_grad():
        plain = model.plain(model.norm(model.scaled(samples.inputs)).relu())
        tokens = model.tokens(plain.flatten(2).mT)
    torch.testing.assert_close(variances["plain"], plain.double().var((0, 2, 3), unbiased=False))
    torch.testing.assert_close(variances["tokens"], tokens.double().var((0, 1), unbiased=False))
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in before.items())
    assert not any(module._forward_hooks for module in model.modules())


def test_information_is_the_mean_of_the_channels_bits() -> None:
    model = Mixed()
    images = torch.zeros(2, 1, 8, 8)  # only scales make outputs vary
    samples = Calibration((images, torch.zeros(2, dtype=torch.int64)))
    model.norm.weight.data = torch.tensor([0.0, 0.3**0.5, 1.5**0.5])  # 0.5 log2 of 1, 31 and 151
    path = information(problem(Weights(model, samples.images[:1]), calibration=samples))
    bits = (0.5 * np.log2(31) + 0.5 * np.log2(151)) / 3
    tokens = 20 * 1e-3 / bits
    kept = path(1.0)
    assert kept[0] == 27
    assert kept[2] == pytest.approx(tokens, rel=1e-4)
