"""The loss of distillation: worked by hand, and by torch."""

import math

import pytest
import torch
from torch import nn

from trainables.data.batches import Batch
from trainables.pruning_spec import Distillation
from trainables.recipe import Recipe
from trainables.task.classification import CLASSIFICATION
from trainables.task.distance import Divergence
from trainables.training.recovery import distillation
from trainables.training.train import task_loss


def test_distillation_is_that_of_hinton_worked_by_hand() -> None:
    labels = torch.tensor([0])
    teacher = nn.Linear(1, 2)
    teacher.weight.data, teacher.bias.data = (
        torch.zeros(2, 1),
        torch.tensor([2 * math.log(3), 0.0]),
    )  # at T = 2: 3/4, 1/4
    batch = Batch((torch.zeros(1, 1), labels), torch.zeros(1, 1), labels)
    apart = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    for weight in (0.0, 0.5, 1.0):
        settings = Distillation(temperature=2.0, weight=weight)
        loss_of = distillation(teacher, settings, task_loss(CLASSIFICATION, Recipe()), Divergence())
        loss = float(loss_of(batch, torch.zeros(1, 2)).detach())
        assert loss == pytest.approx((1 - weight) * math.log(2) + weight * 4 * apart)


def test_distillation_is_that_of_torch() -> None:
    torch.manual_seed(0)
    teacher, images, labels = nn.Linear(5, 7), torch.randn(11, 5), torch.randint(7, (11,))
    logits = torch.randn(11, 7, requires_grad=True)
    loss_of = distillation(teacher, Distillation(), task_loss(CLASSIFICATION, Recipe()), Divergence())
    loss = loss_of(Batch((images, labels), images, labels), logits)
    of_teacher = torch.distributions.Categorical(logits=teacher(images).detach() / 4)
    of_student = torch.distributions.Categorical(logits=logits / 4)
    apart = torch.distributions.kl_divergence(of_teacher, of_student).mean()
    expected = 0.1 * nn.CrossEntropyLoss()(logits, labels) + 0.9 * 16 * apart
    torch.testing.assert_close(loss, expected)
    (got,), (wanted,) = torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(got, wanted)


def test_losses_are_multiplied_by_the_weights_of_the_samples() -> None:
    torch.manual_seed(0)
    teacher, images, labels, weights = nn.Linear(5, 7), torch.randn(11, 5), torch.randint(7, (11,)), torch.rand(11)
    logits = torch.randn(11, 7)
    of_labels = task_loss(CLASSIFICATION, Recipe(label_smoothing=0.1))
    for loss in (of_labels, distillation(teacher, Distillation(), of_labels, Divergence())):
        each = [loss(Batch((images[[i]], labels[[i]]), images[[i]], labels[[i]]), logits[[i]]) for i in range(11)]
        whole = loss(Batch((images, labels), images, labels, weights), logits)
        torch.testing.assert_close(whole, (weights * torch.stack(each)).mean())
        ones = loss(Batch((images, labels), images, labels, torch.ones(11)), logits)
        torch.testing.assert_close(ones, loss(Batch((images, labels), images, labels), logits), rtol=0, atol=0)
