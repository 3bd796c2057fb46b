"""Ridge regression with masks, against one least-squares problem of torch.linalg for each row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainables.compensation.ridge import MaskedRidge


def _problem(samples: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs of which one is a sum of two others, weights, and the outputs of these weights."""
    torch.manual_seed(seed)
    inputs = torch.randn(2, samples, width, dtype=torch.float64)
    inputs[:, :, 5] = 2 * inputs[:, :, 3] - inputs[:, :, 4]
    weight = torch.randn(2, 7, width, dtype=torch.float64)
    return inputs, weight, inputs @ weight.mT


def _row_by_row(weight: Tensor, kept: Tensor, inputs: Tensor, targets: Tensor, damping: float) -> Tensor:
    """Solve each row by stacking its inputs on a pull towards its weights."""
    solved = torch.zeros_like(weight)
    for group in range(len(weight)):
        pull = (damping * inputs[group].square().sum(0).mean()).sqrt()
        for row in range(weight.shape[1]):
            own = kept[group, row].nonzero().flatten()
            system = torch.cat([inputs[group][:, own], pull * torch.eye(len(own), dtype=weight.dtype)])
            right = torch.cat([targets[group, :, row], pull * weight[group, row, own]])
            solved[group, row, own] = torch.linalg.lstsq(system, right).solution
    return solved


@settings(deadline=None, max_examples=15)
@given(
    samples=st.sampled_from([8, 20, 300]),
    density=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    damping=st.sampled_from([1e-2, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_each_row_is_solved_for_its_own_inputs(samples: int, density: float, damping: float, seed: int) -> None:
    inputs, weight, targets = _problem(samples, 31, seed)
    kept = torch.rand(weight.shape) < density
    fitted = MaskedRidge(inputs, targets, damping).fit(weight, kept)
    assert bool((fitted[~kept] == 0).all())
    torch.testing.assert_close(fitted, _row_by_row(weight, kept, inputs, targets, damping), rtol=0.0, atol=1e-5)
    single = MaskedRidge(inputs.float(), targets.float(), damping).fit(weight.float(), kept)
    pull = damping * inputs.square().sum(1).mean(1)[:, None, None]
    right = targets.mT @ inputs + pull * weight
    gradient = (right - single.double() @ inputs.mT @ inputs - pull * single.double()) * kept
    assert bool((gradient.norm(dim=2) <= 1e-3 * right.norm(dim=2)).all())  # in float32


@pytest.mark.parametrize("samples", [20, 300])
def test_rows_that_keep_the_same_inputs_are_solved_as_others_are(samples: int) -> None:
    inputs, weight, targets = _problem(samples, 31)
    inputs[1] = 0.0  # a group that reads nothing
    kept = (torch.rand(2, 1, 31) < 0.5).expand(weight.shape)
    fitted = MaskedRidge(inputs, targets, 0.01).fit(weight, kept)
    assert bool((fitted[~kept] == 0).all())
    torch.testing.assert_close(fitted[:1], _row_by_row(weight, kept, inputs, targets, 0.01)[:1], rtol=0.0, atol=1e-5)
    assert torch.equal(fitted[1], weight[1] * kept[1])
    single = MaskedRidge(inputs.float(), targets.float(), 0.01).fit(weight.float(), kept)
    torch.testing.assert_close(single.double(), fitted, rtol=0.0, atol=1e-3)


def test_nothing_changes_where_nothing_is_removed() -> None:
    inputs, weight, targets = _problem(300, 31)
    everything = torch.ones_like(weight, dtype=torch.bool)
    assert torch.equal(MaskedRidge(inputs, targets, 0.01).fit(weight, everything), weight)


def test_a_removed_input_that_others_add_up_to_costs_nothing() -> None:
    inputs, weight, targets = _problem(300, 31)
    kept = torch.ones_like(weight, dtype=torch.bool)
    kept[:, :, 5] = False
    fitted = MaskedRidge(inputs, targets, 1e-9).fit(weight, kept)
    torch.testing.assert_close(inputs @ fitted.mT, targets, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(fitted[:, :, 3], weight[:, :, 3] + 2 * weight[:, :, 5], rtol=0.0, atol=1e-5)


def test_a_strong_pull_keeps_the_weights() -> None:
    inputs, weight, targets = _problem(300, 31)
    kept = torch.rand(weight.shape) < 0.3
    fitted = MaskedRidge(inputs, targets, 1e9).fit(weight, kept)
    torch.testing.assert_close(fitted, weight * kept, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_that_are_all_zero_keep_the_weights(dtype: torch.dtype) -> None:
    inputs, weight, targets = (each.to(dtype) for each in _problem(20, 31))
    kept = torch.rand(weight.shape) < 0.5
    fitted = MaskedRidge(torch.zeros_like(inputs), targets, 0.01).fit(weight, kept)
    assert torch.equal(fitted, weight * kept)
