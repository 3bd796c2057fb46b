"""The metrics that tasks share are scikit-learn's, over batches of any size."""

import math
from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score, log_loss, mean_squared_error, r2_score
from torch import Tensor

from trainables.task import metrics
from trainables.task.metric import Metric

N = 53
torch.manual_seed(0)
VALUES, WANTED = torch.randn(N, 2), 3.0 + torch.randn(N, 2)
LOGITS, CLASSES = torch.randn(N, 6, 4), torch.randint(6, (N, 4))  # four predictions of six classes a sample
CLASSES[CLASSES == 5] = 0  # a class that is only predicted
FLAT = LOGITS.movedim(1, -1).reshape(-1, 6)


def over_batches(metric: Metric, outputs: Tensor, target: Tensor, size: int) -> float:
    sums = [metric.sums(o, (None, t)).double() for o, t in zip(outputs.split(size), target.split(size), strict=True)]
    return metric.value(torch.stack(sums).sum(0))


@pytest.mark.parametrize("size", [1, 7, 52, N])
@pytest.mark.parametrize(
    ("metric", "outputs", "target", "expected"),
    [
        (metrics.r2(), VALUES[:, :1], WANTED[:, 0], lambda: r2_score(WANTED[:, 0], VALUES[:, 0])),
        (metrics.mean_squared_error(), VALUES, WANTED, lambda: mean_squared_error(WANTED, VALUES)),
        (metrics.accuracy(), LOGITS, CLASSES, lambda: accuracy_score(CLASSES.flatten(), FLAT.argmax(1))),
        (
            metrics.perplexity(),
            LOGITS,
            CLASSES,
            lambda: math.exp(log_loss(CLASSES.flatten(), FLAT.double().softmax(1), labels=range(6))),
        ),
        (
            metrics.mean_iou(6),
            LOGITS,
            CLASSES,
            lambda: jaccard_score(CLASSES.flatten(), FLAT.argmax(1), average="macro"),
        ),
    ],
    ids=["r2", "mean_squared_error", "accuracy", "perplexity", "mean_iou"],
)
def test_a_metric_is_scikit_learns(
    metric: Metric, outputs: Tensor, target: Tensor, expected: Callable[[], float], size: int
) -> None:
    assert over_batches(metric, outputs, target, size) == pytest.approx(float(expected()), rel=1e-6)


def test_ignored_predictions_do_not_count_in_perplexity() -> None:
    some = CLASSES.clone()
    some[:, 1:] = -100
    expected = math.exp(log_loss(CLASSES[:, 0], LOGITS[:, :, 0].double().softmax(1), labels=range(6)))
    assert over_batches(metrics.perplexity(), LOGITS, some, 10) == pytest.approx(expected, rel=1e-6)


def test_r2_of_large_targets_is_exact() -> None:
    wanted = 1e4 + WANTED
    outputs = wanted + 0.1 * VALUES
    assert over_batches(metrics.r2(), outputs[:, :1], wanted[:, 0], 9) == pytest.approx(
        r2_score(wanted[:, 0].double(), outputs[:, 0].double()), abs=1e-5
    )
