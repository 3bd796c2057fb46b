"""How well scores find the wanted samples: area under the ROC curve and precision, against a known truth."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Scores = NDArray[np.float64]  # (N,), higher where a sample is more likely to be wanted
Truth = NDArray[np.bool_]  # (N,), True for the wanted samples


def roc_auc(scores: Scores, truth: Truth) -> float:
    """Area under the ROC curve: the chance that a wanted sample scores higher than another; a tie counts half.

    Computed by scikit-learn. Raises ValueError where all samples or none are wanted.
    """
    _counts(truth)
    return float(roc_auc_score(truth, scores))


def precision_at_count(scores: Scores, truth: Truth) -> float:
    """Fraction of wanted samples among the k samples of highest score, where k is the number of wanted samples.

    Samples that tie at the k-th score are drawn by chance to make up k; the expectation is returned (ours). Raises
    ValueError where all samples or none are wanted.
    """
    count, _ = _counts(truth)
    threshold = np.sort(scores)[-count]
    above, tied = scores > threshold, scores == threshold
    drawn = (count - above.sum()) * truth[tied].mean()
    return float((truth[above].sum() + drawn) / count)


def _counts(truth: Truth) -> tuple[int, int]:
    wanted = int(truth.sum())
    others = len(truth) - wanted
    if not wanted or not others:
        raise ValueError(
            f"some samples must be wanted and some not, but {wanted} of {len(truth)} samples are wanted; "
            "to look for flipped labels, set data.label_noise"
        )
    return wanted, others
