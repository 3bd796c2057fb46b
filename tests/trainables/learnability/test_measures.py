"""Measures of learnability: answers worked by hand, and properties of any record."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainables.learnability.measures import MEASURES, aligned, ease
from trainables.learnability.records import Records

NAN = math.nan
EVERY = pytest.mark.parametrize("measure", MEASURES)


def records(seen: Any, hits: Any, values: Any, first_epoch: int = 1) -> Records:
    """Make records of T epochs and N samples, with the same values (T, N) as probabilities, margins and errors."""
    seen, values = np.array(seen, bool), np.array(values, np.float32)
    epochs, samples = seen.shape
    return Records(
        ids=np.arange(samples) * 3,
        labels=np.zeros(samples, np.int64),
        epochs=np.arange(first_epoch, first_epoch + epochs),
        seen=seen,
        hits=np.array(hits, bool),
        probabilities=values,
        margins=values,
        errors=values,
        taken="during",
        about={},
    )


# Four epochs of five samples (columns): always hit; hit, missed and hit again; learnt late; never hit; never seen.
#                                  1            2                  3            4            5
WORKED = records(
    seen=[[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 0]],
    hits=[[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0]],
    values=[
        [0.5, 0.75, 0.25, 0.0, NAN],
        [0.5, 0.25, 0.25, 0.0, NAN],
        [0.5, NAN, 0.75, 0.25, NAN],
        [0.5, 0.5, 0.25, 0.25, NAN],
    ],
)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("learnability", [4 / 4, 2 / 3, 1 / 4, 0, 0]),
        ("correctness", [4, 2, 1, 0, 0]),
        ("forgetting", [0, 1, 1, 4, 4]),  # sample 2 was not seen in epoch 3, so that is no event
        ("first-learned", [1, 1, 3, 5, 5]),
        ("aum", [0.5, 1.5 / 3, 1.5 / 4, 0.5 / 4, 0]),
        ("confidence", [0.5, 1.5 / 3, 1.5 / 4, 0.5 / 4, 0]),
        # squares about the means 1/2, 3/8 and 1/8: 1/16 + 1/16 + 0 of 3; 3 (1/8)^2 + (3/8)^2 of 4; 4 (1/8)^2 of 4
        ("variability", [0, math.sqrt(1 / 24), math.sqrt(12 / 64 / 4), 1 / 8, 0]),
        ("el2n", [0.5, 0.75, 0.25, 0, math.sqrt(2)]),  # a quarter of four epochs or of three: the first seen epoch
    ],
)
def test_worked_answers(measure: str, expected: list[float]) -> None:
    assert MEASURES[measure].of(WORKED) == pytest.approx(expected)
    sign = 1 if measure in ("learnability", "correctness", "aum", "confidence") else -1
    assert ease(measure, WORKED) == pytest.approx([sign * value for value in expected])


def test_el2n_is_the_mean_of_the_first_quarter_of_the_epochs_seen() -> None:
    """A quarter of 8 or 9 seen epochs is two. The second sample is seen in 4 epochs, of which a quarter is one."""
    values = np.array([[1.0, NAN], [0.5, NAN], [9, 0.25], [9, 9], [9, 9], [9, 9], [9, NAN], [9, NAN], [9, NAN]])
    for epochs in (8, 9):
        few = values[:epochs]
        assert MEASURES["el2n"].of(records(~np.isnan(few), few < 0, few)).tolist() == [0.75, 0.25]


def test_first_learned_counts_the_epochs_of_the_whole_training() -> None:
    """In 3 epochs, the first sample is drawn in epochs 2 and 3 only, and hit in epoch 3."""
    seen, hits = [[0, 1], [1, 1], [1, 1]], [[0, 0], [0, 1], [1, 0]]
    assert MEASURES["first-learned"].of(records(seen, hits, np.zeros((3, 2)))).tolist() == [3, 2]


@EVERY
def test_epoch_0_does_not_count(measure: str) -> None:
    """A record of epochs 0 to 4 has the scores of epochs 1 to 4, whatever epoch 0 is."""
    start: dict[str, Any] = {name: np.concatenate([[row], getattr(WORKED, name)]) for name, row in EPOCH_0.items()}
    assert np.array_equal(MEASURES[measure].of(replace(WORKED, **start)), MEASURES[measure].of(WORKED))


VALUES = [0.9, NAN, 0.9, 0.9, 0.9]
EPOCH_0: dict[str, Any] = {
    "epochs": 0,
    "seen": [True, False, True, True, True],
    "hits": [True, False, True, False, True],
    **dict.fromkeys(("probabilities", "margins", "errors"), np.array(VALUES, np.float32)),
}


@EVERY
def test_a_training_without_epochs_has_finite_scores(measure: str) -> None:
    nothing: NDArray[Any] = np.zeros((0, 2))
    assert np.isfinite(MEASURES[measure].of(records(nothing, nothing, nothing))).all()


@st.composite
def recorded(draw: Callable[..., Any], always_seen: bool = False) -> Records:
    """Draw records of up to 9 epochs and 7 samples."""
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seen = rng.random(shape) < (2 if always_seen else rng.random())
    hits = seen & (rng.random(shape) < rng.random())
    return records(seen, hits, np.where(seen, rng.random(shape), NAN))


@EVERY
@settings(deadline=None, max_examples=50)  # a shared machine may stall any example
@given(found=recorded(), seed=st.integers(0, 99))
def test_samples_are_scored_each_by_itself(measure: str, found: Records, seed: int) -> None:
    """Scores are finite, follow their samples in any order, and are the same in the shares of two workers."""
    of, samples = MEASURES[measure].of, len(found.ids)
    whole, order = of(found), np.random.default_rng(seed).permutation(samples)
    assert whole.shape == (samples,)
    assert np.isfinite(whole).all()
    assert of(only(found, order)) == pytest.approx(whole[order])  # NumPy's order of summation depends on the shape
    shares = [of(only(found, part)) for part in (order[::2], order[1::2])]
    assert np.concatenate(shares) == pytest.approx(whole[np.concatenate([order[::2], order[1::2]])])


def only(found: Records, index: NDArray[np.int64]) -> Records:
    """Return the records of some samples, in that order."""
    names = ("seen", "hits", "probabilities", "margins", "errors")
    rows = {name: getattr(found, name)[:, index] for name in names}
    return replace(found, ids=found.ids[index], labels=found.labels[index], **rows)


@settings(deadline=None)
@given(recorded(always_seen=True), st.floats(-50, 50, width=32))
def test_measures_of_samples_seen_in_every_epoch(found: Records, margin: float) -> None:
    epochs = len(found.epochs)
    of = {name: measure.of(found) for name, measure in MEASURES.items()}
    assert of["learnability"] == pytest.approx(of["correctness"] / epochs)
    assert ((of["forgetting"] == epochs) == (of["correctness"] == 0)).all()  # learnt samples have at most T - 1
    assert ((of["first-learned"] == epochs + 1) == (of["correctness"] == 0)).all()
    assert of["confidence"] == pytest.approx(found.probabilities.mean(axis=0))
    assert of["variability"] == pytest.approx(found.probabilities.std(axis=0), abs=1e-6)
    constant = replace(found, margins=np.full_like(found.margins, margin))
    assert MEASURES["aum"].of(constant) == pytest.approx(margin)


def test_unknown_measures_are_refused() -> None:
    with pytest.raises(
        ValueError, match="measure must be a known name, but got 'forgeting'; did you mean 'forgetting'"
    ):
        ease("forgeting", WORKED)


def test_scores_follow_their_ids() -> None:
    scores, ids = np.array([0.1, 0.2, 0.3]), np.array([4, 9, 2])
    assert aligned(scores, ids, np.array([2, 4, 9])).tolist() == [0.3, 0.1, 0.2]


def test_scores_of_other_samples_are_refused() -> None:
    scores, ids = np.zeros(3), np.array([4, 9, 2])
    with pytest.raises(ValueError, match="2 of 4 samples have no score, and 1 of 3 scores are of other samples"):
        aligned(scores, ids, np.array([2, 4, 5, 6]))
    with pytest.raises(ValueError, match="0 of 2 samples have no score, and 1 of 3 scores"):
        aligned(scores, ids, ids[:2])
