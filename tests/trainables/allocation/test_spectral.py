import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainables.problems import linears, problem, quotas
from trainables.allocation.spectral import tail_exponent


def weight(*singular: float, side: int = 20) -> Tensor:
    """Make a square matrix with these singular values and zeros, in random directions."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(side, side, dtype=torch.float64)).Q for _ in range(2))
    product: Tensor = (left[:, : len(singular)] * torch.tensor(singular, dtype=torch.float64)) @ right[: len(singular)]
    return product


E = np.e


def test_tail_starts_at_the_median() -> None:
    # squared singular values exp(0, 2, 4, 6): 2 / ((4 - 4) + (6 - 4)) = 1
    for scale in (1.0, 1e-3):
        assert tail_exponent(scale * weight(1, E, E**2, E**3).float()) == pytest.approx(2.0, rel=1e-5)
    assert tail_exponent(weight(E**2, E, 1).float()) == pytest.approx(2.0, rel=1e-5)  # tail exp(2, 4)


def test_kernel_is_one_spectrum_of_several_matrices() -> None:
    kernel = torch.stack([weight(1, E, side=4), weight(E**2, E**3, side=4)], -1)[:, :, None].float()
    assert kernel.shape == (4, 4, 1, 2)
    assert tail_exponent(kernel) == pytest.approx(2.0, rel=1e-5)


def test_spectrum_without_a_tail_has_an_infinite_exponent() -> None:
    assert tail_exponent(torch.zeros(3, 4)) == tail_exponent(torch.ones(3, 4)) == float("inf")


HEAVY, LIGHT, BETWEEN = weight(1, 1, 1, E**2), weight(1, 1, 1, E ** (2 / 3)), weight(1, 1, 1, E)
# tails exp(0, 4), exp(0, 4 / 3) and exp(0, 2): exponents 1.5, 2.5 and 2


@pytest.mark.parametrize(
    ("sparsity", "keep"),
    [
        (0.5, [240, 160, 200]),  # sparsities 0.8, 1.2 and 1 times 0.5
        (
            0.85,
            [115.6, 20, 44.4],
        ),  # the second would be 1.02: it keeps its floor; the others have 0.8 and 1 times 0.8889
    ],
)
def test_sparsity_rises_linearly_with_the_exponent(sparsity: float, keep: list[float]) -> None:
    prunable = linears(HEAVY, LIGHT, BETWEEN)
    np.testing.assert_allclose(quotas("alpha-pruning", problem(prunable, sparsity)), keep, atol=1)


def test_layer_without_a_tail_is_pruned_as_the_lightest() -> None:
    prunable = linears(HEAVY, LIGHT, np.eye(20) * 3, BETWEEN)
    heavy, light, none, between = quotas("alpha-pruning", problem(prunable, 0.5))
    assert light == pytest.approx(none, abs=1)
    assert heavy > between > light


def test_equal_spectra_are_pruned_alike() -> None:
    keep = quotas("alpha-pruning", problem(linears(np.eye(20), np.eye(20)), 0.5))
    assert keep.tolist() == [200, 200]
