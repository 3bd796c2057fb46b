"""Distances agree with torch's own losses, whatever the axis of the classes and the number of predictions."""

import math

import pytest
import torch
from torch.nn import functional as F

from trainables.task.distance import Distance, Divergence, squared_error


@pytest.mark.parametrize(("shape", "axis"), [((7, 5), 1), ((7, 3, 5), -1), ((7, 5, 4, 2), 1)])
def test_divergence_is_the_mean_over_predictions(shape: tuple[int, ...], axis: int) -> None:
    torch.manual_seed(0)
    dense, outputs = torch.randn(shape), torch.randn(shape, requires_grad=True)
    distance = Divergence(axis=axis)
    reference = distance.reference(dense)
    before, after = (
        torch.distributions.Categorical(logits=logits.movedim(axis, -1)) for logits in (dense, outputs.detach())
    )
    expected = torch.distributions.kl_divergence(before, after).reshape(7, -1).mean(1)
    torch.testing.assert_close(distance.of_samples(reference, outputs).detach(), expected)
    mean = distance.mean(reference, outputs)
    torch.testing.assert_close(mean.detach(), expected.mean())
    (gradient,) = torch.autograd.grad(mean, outputs)
    (by_samples,) = torch.autograd.grad(distance.of_samples(reference, outputs).mean(), outputs)
    torch.testing.assert_close(gradient, by_samples)


def test_the_loss_of_logits_ignores_their_scale_and_counts_changed_answers() -> None:
    dense = torch.tensor([[4.0, 0.0], [0.0, 4.0]])
    distance = Divergence()
    reference = distance.reference(dense)
    assert distance.lost(reference, dense) == pytest.approx(0.0, abs=1e-6)
    assert distance.lost(reference, 2 * dense) < distance.lost(reference, -dense)
    apart = float((reference.exp() * reference).sum(1).mean()) + math.log(2)  # from a network that says nothing
    forgone = float((reference.exp().amax(1) - reference.exp().amin(1)).mean())
    assert distance.lost(reference, -1e-3 * dense) == pytest.approx(apart + forgone, abs=1e-2)


def test_other_outputs_are_compared_by_their_squared_error_or_by_a_function() -> None:
    torch.manual_seed(0)
    dense, outputs = torch.randn(6, 3, 2), torch.randn(6, 3, 2)
    torch.testing.assert_close(Distance().mean(dense, outputs), F.mse_loss(outputs, dense))
    torch.testing.assert_close(squared_error(dense[:, 0, 0], outputs[:, 0, 0]), (dense - outputs)[:, 0, 0].square())
    own = Distance(lambda dense, outputs: (dense - outputs).abs().flatten(1).amax(1))
    torch.testing.assert_close(own.of_samples(dense, outputs), (dense - outputs).abs().amax((1, 2)))
    assert own.lost(dense, outputs) == pytest.approx(float((dense - outputs).abs().amax((1, 2)).mean()))
