"""How well scores find the samples that they should: areas and precisions against a known truth."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Scores = NDArray[np.float64]  # (N,), higher where a sample is more likely to be one of those looked for
Truth = NDArray[np.bool_]  # (N,), whether it is


def roc_auc(scores: Scores, truth: Truth) -> float:
    """Area under the ROC curve: the chance that a sample looked for scores higher than another; a tie counts half.

    By scikit-learn. Raises ValueError where all samples are of one kind.
    """
    _counts(truth)
    return float(roc_auc_score(truth, scores))


def precision_at_count(scores: Scores, truth: Truth) -> float:
    """Fraction of those looked for among the k samples of the highest scores, where k of all are looked for.

    Of samples tied at the k-th score as many as have room are drawn by chance, and the expectation is returned (ours).
    Raises ValueError where all samples are of one kind.
    """
    count, _ = _counts(truth)
    threshold = np.sort(scores)[-count]
    above, tied = scores > threshold, scores == threshold
    drawn = (count - above.sum()) * truth[tied].mean()
    return float((truth[above].sum() + drawn) / count)


def _counts(truth: Truth) -> tuple[int, int]:
    found = int(truth.sum())
    others = len(truth) - found
    if not found or not others:
        raise ValueError(
            f"some samples must be looked for and some not, but {found} of {len(truth)} are; for flipped labels set "
            "data.label_noise"
        )
    return found, others
