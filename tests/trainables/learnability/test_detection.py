"""Detection: areas compared with scikit-learn's, and ties compared with all their orders."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trainables.learnability.detection import precision_at_count, roc_auc

samples = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=6).filter(
    lambda pairs: len({truth for _, truth in pairs}) == 2
)


@settings(deadline=None)  # a shared machine may stall any example
@given(samples)
def test_area_and_precision_are_right_with_any_ties(pairs: list[tuple[int, bool]]) -> None:
    """The expected precision is the mean over all orders of the samples, by which a stable sort breaks the ties."""
    scores, truth = np.array([score for score, _ in pairs], float), np.array([wanted for _, wanted in pairs])
    assert roc_auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))
    count = int(truth.sum())
    each = [
        np.mean([wanted for _, wanted in sorted(order, key=lambda pair: -pair[0])[:count]])
        for order in permutations(pairs)
    ]
    assert precision_at_count(scores, truth) == pytest.approx(np.mean(each))


def test_worked_answers() -> None:
    """Of 2 x 3 pairs of a wanted sample and another, 4 are in order and one is tied. One of the first 2 is wanted."""
    scores, truth = np.array([5.0, 4, 3, 3, 1]), np.array([True, False, True, False, False])
    assert roc_auc(scores, truth) == pytest.approx(4.5 / 6)
    assert precision_at_count(scores, truth) == 0.5
    assert precision_at_count(np.array([5.0, 3, 3, 3, 1]), truth) == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize("wanted", [False, True])
def test_samples_of_one_kind_are_refused(wanted: bool) -> None:
    for score in (roc_auc, precision_at_count):
        with pytest.raises(
            ValueError, match=f"some not, but {3 * wanted} of 3 samples are wanted; to look for flipped labels, set"
        ):
            score(np.zeros(3), np.full(3, wanted))
