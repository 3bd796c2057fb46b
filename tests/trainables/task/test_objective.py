"""Losses and metrics of a task: their values over any batches are those over all samples at once."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.batches import Resident
from trainables.data.splits import Split, Splits
from trainables.recipe import Recipe
from trainables.task.classification import CLASSIFICATION, classification
from trainables.task.distance import Distance
from trainables.task.metric import Metric
from trainables.task.objective import Objective
from trainables.training import train
from trainables.training.train import evaluate

CPU = torch.device("cpu")


def test_classification_is_cross_entropy_and_accuracy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 4), torch.randint(4, (9,))
    batch = (torch.zeros(9, 1), labels)
    for smoothing in (0.0, 0.2):
        expected = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(CLASSIFICATION.trained(Recipe(label_smoothing=smoothing))(logits, batch), expected)
    torch.testing.assert_close(CLASSIFICATION.losses(logits, batch), F.cross_entropy(logits, labels, reduction="none"))
    sums = CLASSIFICATION.metric.sums(logits, batch).double()
    assert CLASSIFICATION.metric.value(sums) == int((logits.argmax(1) == labels).sum()) / 9


def test_classes_are_weighed_as_torch_and_scikit_learn_do() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 3), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    batch = (torch.zeros(9, 1), labels)
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    objective = classification(labels.bincount().tolist())
    for weights, of_classes in (((0.5, 2.0, 3.0), (0.5, 2.0, 3.0)), ("balanced", balanced)):
        recipe = Recipe.model_validate({"loss_weights": weights, "label_smoothing": 0.1})
        expected = F.cross_entropy(
            logits, labels, torch.tensor(of_classes, dtype=torch.float32), reduction="none", label_smoothing=0.1
        )
        torch.testing.assert_close(objective.trained(recipe)(logits, batch), expected)
    even = objective.trained(Recipe(loss_weights="balanced"))(torch.zeros(9, 3), batch)
    assert even.mean().item() == pytest.approx(math.log(3))  # a mean weight of 1 leaves the learning rate as it is


def test_a_mean_loss_counts_as_each_sample_s() -> None:
    mean = Objective(lambda outputs, _: outputs.mean(), CLASSIFICATION.metric, Distance(), CLASSIFICATION.inputs)
    assert mean.losses(torch.tensor([1.0, 2.0, 6.0]), None).tolist() == [3.0] * 3


@pytest.mark.parametrize("size", [1, 7, 64, 512])
def test_a_network_is_judged_the_same_whatever_the_size_of_the_batches(
    splits: Splits, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inverse of a mean, as in perplexity, is no mean of the batches' inverses."""

    def sums(outputs: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        return torch.stack([F.cross_entropy(outputs, batch[1], reduction="sum"), torch.tensor(float(len(outputs)))])

    perplexity = Metric("perplexity", sums, lambda totals: math.exp(totals[0] / totals[1]), higher_is_better=False)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    objective = Objective(CLASSIFICATION.loss, perplexity, Distance(), CLASSIFICATION.inputs)
    val: Split = splits.val
    data = Resident(val, Splits(val, val, splits.classes, splits.mean, splits.std, objective=objective), CPU)
    monkeypatch.setattr(train, "EVAL_BATCH", size)
    judged = evaluate(model, data)
    loss = F.cross_entropy(model.double()(data.normalise(data.images).double()), data.labels).item()
    assert judged.loss == pytest.approx(loss, rel=1e-6)
    assert judged.metric == pytest.approx(math.exp(loss), rel=1e-6)
