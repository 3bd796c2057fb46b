"""Curricula: what all of the table and each of them must do, their controls and their labels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from trainables.curriculum_spec import Curriculum
from trainables.data.batches import Drawn
from trainables.learnability.curricula import PACINGS, draws, pool_sizes
from trainables.learnability.curriculum_kinds import CURRICULA, control_of, is_scored, label_of

COUNT, EPOCHS, BATCH = 2001, 4, 100
CHANCE = np.random.default_rng(0)
LABELS = CHANCE.choice(5, COUNT, p=[0.4, 0.3, 0.15, 0.1, 0.05])
EASE = CHANCE.integers(0, 11, COUNT) / 10 + LABELS  # tied, and easier in some classes than in others
DRAWING = sorted(set(CURRICULA) - {"standard"})
EVERY = pytest.mark.parametrize("name", DRAWING)
BALANCED = pytest.mark.parametrize("balanced", [False, True])
Floats = NDArray[np.float64]


def epoch_of(epoch: int, ease: Floats | None = EASE, seed: int = 3, **given: Any) -> Drawn:
    drawn = draws(Curriculum(**given), ease, LABELS, EPOCHS, BATCH, seed)(epoch)
    assert drawn is not None
    return drawn


def seen(epoch: int = 0, **given: Any) -> NDArray[np.int64]:
    return epoch_of(epoch, **given).index.numpy()


def groups_of(balanced: bool) -> list[NDArray[np.int64]]:
    """Return the positions of each class or, if not balanced, of all samples."""
    return [np.flatnonzero(group == LABELS) for group in range(5)] if balanced else [np.arange(COUNT)]


def same(one: Drawn, other: Drawn) -> bool:
    weights = [None if drawn.weights is None else drawn.weights.tolist() for drawn in (one, other)]
    return one.index.tolist() == other.index.tolist() and weights[0] == weights[1]


@pytest.mark.parametrize(
    ("pacing", "halfway"),
    [
        ("linear", 30000),
        ("quadratic", 20000),
        ("root", 38284),
        ("step", 10000),
        ("exponential", 10267),
        ("logarithmic", 47227),
    ],
)
def test_pacings_are_those_worked_by_hand(pacing: str, halfway: int) -> None:
    sizes = pool_sizes(Curriculum(pacing=pacing), 50000, 10000)
    assert sizes[[0, 4000, 8000, 9999]].tolist() == [10000, halfway, 50000, 50000]


@given(
    st.sampled_from(sorted(PACINGS)), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 3000), st.integers(1, 50)
)
def test_pools_only_grow_from_their_start_or_256_to_all(
    pacing: str, start: float, full: float, samples: int, steps: int
) -> None:
    sizes = pool_sizes(Curriculum(pacing=pacing, start=start, full=full), samples, steps)
    assert sizes[0] == min(samples, max(256, int(start * samples)))
    assert (np.diff(sizes) >= 0).all()
    assert (sizes[np.arange(steps) >= full * steps] == samples).all()


@EVERY
def test_an_epoch_is_as_long_as_without_and_follows_from_seed_and_epoch_alone(name: str) -> None:
    first = epoch_of(2, name=name)
    assert len(first.index) == COUNT
    assert set(first.index.tolist()) <= set(range(COUNT))
    assert same(first, epoch_of(2, name=name))
    assert same(first, epoch_of(2, ease=np.exp(3 * EASE), name=name))  # the scale does not matter
    assert not same(first, epoch_of(1, name=name))
    assert not same(first, epoch_of(2, name=name, seed=4))
    assert not same(first, epoch_of(2, name=name, shuffled=True))


def test_standard_leaves_it_to_the_batches() -> None:
    assert draws(Curriculum(), None, LABELS, 2, 100, 0)(1) is None


@pytest.mark.parametrize(("name", "sign"), [("easy-first", 1), ("hard-first", -1)])
@BALANCED
def test_the_first_batch_has_only_preferred_samples(name: str, sign: int, balanced: bool) -> None:
    batch, liked = seen(name=name, balanced=balanced)[:BATCH], sign * EASE
    for group in groups_of(balanced):
        least = np.sort(liked[group])[-round(0.2 * len(group)) - 1]
        assert liked[np.intersect1d(batch, group)].min() >= least
    assert len(np.unique(batch)) == BATCH


@BALANCED
def test_every_prefix_of_a_balanced_order_has_the_share_of_each_class(balanced: bool) -> None:
    shares = np.bincount(LABELS) / COUNT
    for start in (0.13, 0.3, 0.77):
        pool = np.unique(seen(name="easy-first", pacing="step", start=start, balanced=balanced))
        assert len(pool) == int(start * COUNT)
        off = np.abs(np.bincount(LABELS[pool], minlength=5) - shares * len(pool)).max()
        assert (off <= 1) == balanced


def test_a_pool_grows_within_an_epoch_and_has_all_at_last() -> None:
    given: dict[str, Any] = {"name": "hard-first", "balanced": False, "start": 0.13, "full": 0.5}
    limits = np.sort(EASE)[pool_sizes(Curriculum(**given), COUNT, EPOCHS * 21) - 1]
    for epoch in range(EPOCHS):
        steps = np.arange(COUNT) // BATCH + 21 * epoch
        assert (EASE[seen(epoch, **given)] <= limits[steps]).all()
    assert len(set(limits[:21])) > 3
    assert sorted(seen(EPOCHS - 1, **given)) == list(range(COUNT))


@pytest.mark.parametrize(("name", "sign"), [("drop-hardest", 1), ("drop-easiest", -1)])
@BALANCED
def test_the_easiest_or_hardest_fraction_is_dropped(name: str, sign: int, balanced: bool) -> None:
    index = seen(name=name, fraction=0.35, balanced=balanced)
    kept = np.unique(index)
    assert len(kept) == round(0.65 * COUNT)
    assert set(np.bincount(index)[kept]) == {1, 2}  # all N draws are shared evenly
    assert set(seen(3, name=name, fraction=0.35, balanced=balanced)) == set(kept)
    for group in groups_of(balanced):
        stay, go = np.intersect1d(group, kept), np.setdiff1d(group, kept)
        assert (sign * EASE[stay]).min() >= (sign * EASE[go]).max()
        assert len(stay) == pytest.approx(0.65 * len(group), abs=1)


def weights_of(**given: Any) -> Floats:
    """Return the weight of each sample's loss. Every sample comes in some epoch."""
    draw, weights = draws(Curriculum(**given), EASE, LABELS, EPOCHS, BATCH, 3), np.zeros(COUNT)
    for epoch in range(300):
        drawn = draw(epoch)
        assert drawn is not None
        assert drawn.weights is not None
        weights[drawn.index] = drawn.weights
    assert weights.all()
    return weights


@pytest.mark.parametrize(("name", "sign"), [("weigh-easy", 1), ("weigh-hard", -1)])
@BALANCED
def test_weights_go_with_the_rank_around_one(name: str, sign: int, balanced: bool) -> None:
    assert sorted(seen(name=name)) == list(range(COUNT))
    weights = weights_of(name=name, balanced=balanced)
    assert 0.1 <= weights.min() < weights.max() <= 1.9
    for group in groups_of(balanced):
        assert weights[group].mean() == pytest.approx(1)
        assert weights[group] == pytest.approx(0.1 + 1.8 * (rankdata(sign * EASE[group]) - 0.5) / len(group))


@pytest.mark.parametrize("name", ["sample-easy", "sample-hard"])
def test_importance_sampling_is_unbiased(name: str) -> None:
    draw = draws(Curriculum(name=name), EASE[:20], LABELS[:20], 1, 10, 0)
    epochs = [drawn for epoch in range(2000) if (drawn := draw(epoch))]
    index = np.concatenate([drawn.index for drawn in epochs])
    weights = np.concatenate([drawn.weights for drawn in epochs if drawn.weights is not None])
    times, loss = np.bincount(index, minlength=20), CHANCE.normal(size=20)
    for sample in range(20):  # drawn with probability q = 1 / (N weight)
        (weight,) = set(weights[index == sample].tolist())
        assert times[sample] == pytest.approx(len(index) / (20 * weight), rel=0.1)
    weighted = weights * loss[index]
    assert weighted.mean() == pytest.approx(loss.mean(), abs=4 * float(weighted.std()) / len(weighted) ** 0.5)
    liked = weights_of(name=name.replace("sample", "weigh"))
    assert weights_of(name=name) == pytest.approx(1 / liked, rel=1e-5)


@EVERY
@BALANCED
def test_a_control_has_its_scores_by_chance(name: str, balanced: bool) -> None:
    curriculum = Curriculum(name=name, balanced=balanced, measure="aum", network="vgg16", table="a/b", start=0.3)
    other = control_of(curriculum)
    assert other is not None
    assert other.shuffled
    assert control_of(other) is None
    assert (other.start, other.balanced, other.phase) == (0.3, balanced, curriculum.phase)
    drawn, control = (epoch_of(0, **given.model_dump()) for given in (curriculum, other))
    if drawn.weights is None or control.weights is None:  # the control does not read scores
        assert not is_scored(other)
        assert other.measure == Curriculum().measure
        assert same(control, epoch_of(0, ease=None, **other.model_dump()))
        assert len(control.index.unique()) == len(drawn.index.unique())
    else:  # other samples get the same weights; if balanced, samples of the same class
        assert other == curriculum.model_copy(update={"shuffled": True})
        weights, dealt = (weights_of(**given.model_dump()) for given in (curriculum, other))
        for group in groups_of(balanced):
            assert sorted(weights[group]) == pytest.approx(sorted(dealt[group]))
        assert abs(np.corrcoef(weights, dealt)[0, 1]) < 0.1


def test_a_random_drop_does_not_depend_on_scores_order_or_labels() -> None:
    given: dict[str, Any] = {"name": "drop-hardest", "shuffled": True, "fraction": 0.5}
    times = np.bincount(np.concatenate([np.unique(seen(seed=seed, **given)) for seed in range(20)]), minlength=COUNT)
    assert times.var() == pytest.approx(20 / 4, rel=0.2)
    for other in (EASE, np.arange(COUNT), LABELS):
        assert abs(np.corrcoef(times, other)[0, 1]) < 0.1


def test_opposites_whose_controls_ignore_scores_share_one_control() -> None:
    for easy, hard in (("easy-first", "hard-first"), ("drop-easiest", "drop-hardest")):
        assert control_of(Curriculum(name=easy)) == control_of(Curriculum(name=hard, measure="aum"))
    assert control_of(Curriculum(name="weigh-easy")) != control_of(Curriculum(name="weigh-hard"))
    assert control_of(Curriculum()) is None
    assert not is_scored(Curriculum())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "standard"),
        ({"name": "easy-first"}, "easy-first linear"),
        ({"name": "easy-first", "shuffled": True}, "random order linear"),
        ({"name": "hard-first", "shuffled": True}, "hard-first linear, shuffled"),
        ({"name": "hard-first", "pacing": "root", "start": 0.07}, "hard-first root, start 7 %"),
        ({"name": "drop-hardest"}, "drop-hardest 30 %"),
        ({"name": "drop-hardest", "shuffled": True, "balanced": False}, "random drop 30 %, unbalanced"),
        ({"name": "weigh-easy", "phase": "dense", "measure": "aum"}, "dense: weigh-easy, measure aum"),
        ({"name": "sample-hard", "shuffled": True}, "sample-hard, shuffled"),
    ],
)
def test_labels(given: dict[str, Any], expected: str) -> None:
    assert label_of(Curriculum.model_validate(given)) == expected


WORDS, PARTS = st.sampled_from(["", "aum", "vgg16", "s3://a/b"]), st.sampled_from([0.2, 0.3, 0.8, 0.07, 0.1 + 0.2])
ANY = st.builds(
    Curriculum,
    name=st.sampled_from(sorted(CURRICULA)),
    phase=st.sampled_from(["finetune", "dense"]),
    measure=st.sampled_from(["learnability", "aum"]),
    network=WORDS,
    table=WORDS,
    pacing=st.sampled_from(sorted(PACINGS)),
    start=PARTS,
    full=PARTS,
    fraction=PARTS,
    balanced=st.booleans(),
    shuffled=st.booleans(),
)


@given(st.lists(ANY, min_size=2, max_size=30, unique=True))
def test_no_two_curricula_have_the_same_label(curricula: list[Curriculum]) -> None:
    assert len({label_of(curriculum) for curriculum in curricula}) == len(curricula)
