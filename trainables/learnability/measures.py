"""How easy each training sample was to learn, computed from its record: measures by name, with their formulas.

For each sample, a measure reads the epochs t = 1..T in which the sample was seen. Epoch 0, from which recovery starts,
is left out, because nothing has been learned there. In one epoch, c is 1 for a hit and 0 for a miss, p is the softmax
probability of the label, and m is the margin. Where a sample has several predictions, c is the share that is right, and
a share of at least 1/2 is a hit (ours). A sample that was never seen scores 0, unless a measure says otherwise. This is
finite, and ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.learnability.records import Records
from trainables.lookup import pick
from trainables.names import MEASURES_OF_LABELS
from trainables.own_function import is_external
from trainables.plugins import load

Scores = NDArray[np.float64]  # (N,)
Ids = NDArray[np.int64]  # (N,)
Mask = NDArray[np.bool_]  # (T, N)

EARLY = 4  # the first 1 / EARLY of the epochs is early in training


@dataclass(frozen=True)
class Measure:
    """A number for each sample, and whether the easy samples have high or low numbers.

    Measures of `MEASURES_OF_LABELS` read what only records of samples with labels have.
    """

    of: Callable[[Records], Scores]
    easy: Literal["high", "low"]


def learnability(records: Records) -> Scores:
    """Hits per epoch, sum c / T, in [0, 1] (Lee et al., arXiv 1901.02347; dividing by T is our reading)."""
    return _mean(records.hits, _seen(records))


def forgetting(records: Records) -> Scores:
    """Count forgetting events: misses that come right after a hit (Toneva et al., arXiv 1812.05159).

    A sample that was never hit has T events, the paper's infinity; that number is ours. An epoch in which the sample
    was not seen is no event.
    """
    known = np.zeros(len(records.ids), bool)
    events = np.zeros(len(records.ids))
    for seen, hit in zip(_seen(records), records.right, strict=True):
        events += known & seen & ~hit
        known = np.where(seen, hit, known)
    return np.where(_right(records).any(axis=0), events, float(_last(records)))


def first_learned(records: Records) -> Scores:
    """Find the first epoch with a hit, in 1..T: the first learning event (Toneva et al., arXiv 1812.05159).

    A sample that was never hit has T + 1 (ours).
    """
    never = _last(records) + 1
    when = np.where(_right(records), records.epochs[:, None], never)
    return np.asarray(when.min(axis=0, initial=never), np.float64)


def aum(records: Records) -> Scores:
    """Average the margin, mean m: the area under the margin (Pleiss et al., arXiv 2001.10528).

    A low or negative value suggests a wrong label. A sample that was never seen has 0, which says nothing of its label.
    """
    return _mean(records.margins, _seen(records))


def el2n(records: Records) -> Scores:
    """Average the error norm |softmax - one-hot| early in training (Paul et al., arXiv 2107.07075), in [0, sqrt 2].

    Early is the first quarter of the epochs in which the sample was seen, rounded down, but at least one epoch (ours).
    A sample that was never seen has the largest error, sqrt 2.
    """
    seen = _seen(records)
    first = np.maximum(seen.sum(axis=0) // EARLY, 1)
    early = seen & (np.cumsum(seen, axis=0, dtype=np.int32) <= first)
    return np.where(seen.any(axis=0), _mean(records.errors, early), math.sqrt(2))


def confidence(records: Records) -> Scores:
    """Average the probability of the label, mean p, in [0, 1] (Swayamdipta et al., arXiv 2009.10795)."""
    return _mean(records.probabilities, _seen(records))


def variability(records: Records) -> Scores:
    """Spread of the probability of the label: the population standard deviation of p, in [0, 1/2] (arXiv 2009.10795).

    The paper calls samples of high variability ambiguous. That samples of low variability are easy is our reading.
    """
    seen = _seen(records)
    return np.sqrt(_mean((records.probabilities - _mean(records.probabilities, seen)) ** 2, seen))


def correctness(records: Records) -> Scores:
    """Count the hits, sum c, in 0..T (arXiv 2009.10795)."""
    return np.asarray(records.hits.sum(axis=0, where=_seen(records), dtype=np.float64))


MEASURES: dict[str, Measure] = {
    "learnability": Measure(learnability, easy="high"),
    "forgetting": Measure(forgetting, easy="low"),
    "first-learned": Measure(first_learned, easy="low"),
    "aum": Measure(aum, easy="high"),
    "el2n": Measure(el2n, easy="low"),
    "confidence": Measure(confidence, easy="high"),
    "variability": Measure(variability, easy="low"),
    "correctness": Measure(correctness, easy="high"),
}


def measures_for(records: Records) -> dict[str, Measure]:
    """Return the measures that records allow: all of them where samples have labels."""
    return {name: measure for name, measure in MEASURES.items() if records.labelled or name not in MEASURES_OF_LABELS}


def ease(measure: str, records: Records) -> Scores:
    """Score samples so that higher is easier: (N,), in the order of the records. ValueError for an unknown measure.

    A function of the user's own scores so itself; ValueError if it does not give a number for each sample.
    """
    if is_external(measure):
        scores = np.asarray(load("measure", measure)(records))
        if scores.shape != records.ids.shape or scores.dtype.kind not in "fiub":
            raise ValueError(
                f"measure {measure!r} must return a number for each sample, an array of shape {records.ids.shape}, but "
                f"returned one of shape {scores.shape} and dtype {scores.dtype}; correct it"
            )
        return scores.astype(np.float64)
    chosen = pick("measure", measure, MEASURES)
    return chosen.of(records) if chosen.easy == "high" else -chosen.of(records)


def aligned(scores: Scores, ids: Ids, wanted: Ids) -> Scores:
    """Put the scores (N,) of samples `ids` (N,) in the order of `wanted` (N,).

    Raises ValueError where they are not the same samples; it says how many differ.
    """
    unscored, foreign = (~np.isin(wanted, ids)).sum(), (~np.isin(ids, wanted)).sum()
    if unscored or foreign:
        raise ValueError(
            f"scores must cover exactly the training samples, but {unscored} of {len(wanted)} samples have no "
            f"score, and {foreign} of {len(ids)} scores are of other samples; use scores of the same data set, "
            "split_seed, fractions and max_train, from a training in which every sample was seen"
        )
    order = np.argsort(ids)
    return scores[order[np.searchsorted(ids, wanted, sorter=order)]]


def _seen(records: Records) -> Mask:
    return records.seen & (records.epochs > 0)[:, None]


def _right(records: Records) -> Mask:
    return records.right & _seen(records)


def _last(records: Records) -> int:
    """T: the number of the last epoch."""
    return int(records.epochs.max(initial=0))


def _mean(values: NDArray[Any], where: Mask) -> Scores:
    total = values.sum(axis=0, where=where, dtype=np.float64)
    return np.asarray(total / np.maximum(where.sum(axis=0), 1), np.float64)
