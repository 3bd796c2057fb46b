"""What each epoch of a training draws under a curriculum, by how easy its samples are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.curriculum_spec import Curriculum
from trainables.data.batches import Drawn
from trainables.learnability import curriculum_kinds as kinds
from trainables.learnability.curriculum_kinds import CURRICULA, Method, is_scored
from trainables.learnability.growing_deck import deal
from trainables.training.train import Draw

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEWEST = 256  # samples that a paced curriculum begins with at least
FLOOR = 0.1  # least weight of a sample, where the mean is 1; ours

PACINGS: Mapping[str, Callable[[Floats], Floats]] = {  # time, from 0 to 1 -> fraction in of what is not in at first
    "linear": lambda x: x,
    "quadratic": lambda x: x**2,
    "root": lambda x: x**0.5,
    "step": lambda x: np.floor(x),
    "exponential": lambda x: np.expm1(10.0 * x) / np.expm1(10.0),
    "logarithmic": lambda x: 1.0 + 0.1 * np.log(x + np.exp(-10.0)),
}


@dataclass(frozen=True, eq=False)
class CurriculumContext:
    """A training that a curriculum is for, and what it makes of the N samples."""

    curriculum: Curriculum
    order: Integers  # (N,), positions in the split, those it likes first
    weights: Floats  # (N,), of mean 1, the higher the more it likes a sample
    epochs: int
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Of an epoch, as many as without a curriculum."""
        return -(-len(self.order) // self.batch_size)

    def generator(self, epoch: int) -> np.random.Generator:
        """Draw what is the same whenever this epoch, counted from 0, is repeated."""
        return np.random.default_rng((1 + epoch, self.seed))


def draws(
    curriculum: Curriculum, ease: Floats | None, labels: Integers, epochs: int, batch_size: int, seed: int
) -> Draw:
    """What each epoch, from 0 on, of a training draws: always N samples, so it has the steps of one without curriculum.

    Only ranks count of `ease` (N,), the higher the easier, among all or, balanced, among the samples of a class (ours):
    it may be on any scale, and None where `is_scored` says no. Ties are broken by chance, the same in every epoch.
    """
    kind = CURRICULA[curriculum.name]
    chance = np.random.default_rng((0, seed)).random((2, len(labels)))
    groups = labels if curriculum.balanced else np.zeros_like(labels)
    if ease is None or not is_scored(curriculum):
        ease = np.zeros(len(labels))
    assert not np.isnan(ease).any()
    burden = ease.copy() if kind.hard else -ease
    if curriculum.shuffled:
        burden[np.lexsort((chance[1], groups))] = burden[np.argsort(groups, kind="stable")]
    ranked, place = _ranked(burden, groups, chance[0])
    order = ranked[np.argsort(place, kind="stable")]
    weights = _weights(burden, groups, ranked, place)
    return DRAWS[kind.method](CurriculumContext(curriculum, order, weights, epochs, batch_size, seed))


def _ranked(burden: Floats, groups: Integers, chance: Floats) -> tuple[Integers, Floats]:
    """Positions (N,) sorted by group, then burden, then chance; and how far through its group each is, from 0 to 1.

    Sorted by the latter, groups take turns evenly, in proportion to their sizes, as seats do by Sainte-Laguë (ours).
    """
    ranked = np.lexsort((chance, burden, groups))
    sizes, of = np.bincount(groups), groups[ranked]
    first = np.cumsum(sizes) - sizes
    return ranked, (np.arange(len(of)) - first[of] + 0.5) / sizes[of]


def _weights(burden: Floats, groups: Integers, ranked: Integers, place: Floats) -> Floats:
    """Fall from 1.9 to 0.1 evenly by rank (ours): the mean of each group is 1, and equal burdens weigh the same."""
    burden, groups = burden[ranked], groups[ranked]
    level = np.zeros(len(place), np.int64)
    level[1:] = np.cumsum((burden[1:] != burden[:-1]) | (groups[1:] != groups[:-1]))
    weights = np.empty(len(place))
    weights[ranked] = FLOOR + 2 * (1 - FLOOR) * (1 - np.bincount(level, place) / np.bincount(level))[level]
    return weights


def plain(context: CurriculumContext) -> Draw:
    """Every sample once an epoch, which is what batches are made of without a curriculum."""
    return lambda _: None


def paced(context: CurriculumContext) -> Draw:
    """Begin with the first of the order and let others in as the pacing tells (Wu et al., ICLR 2021)."""
    return _dealt(context, pool_sizes(context.curriculum, len(context.order), context.epochs * context.steps))


def dropping(context: CurriculumContext) -> Draw:
    """Do without the last of the order; the others come the more often."""
    kept = max(1, round((1 - context.curriculum.fraction) * len(context.order)))
    return _dealt(context, np.full(context.epochs * context.steps, kept))


def _dealt(context: CurriculumContext, sizes: Integers) -> Draw:
    """Deal each step (epochs * steps,) from the first so many of the order."""

    def draw(epoch: int) -> Drawn:
        now = sizes[epoch * context.steps :][: context.steps]
        return Drawn(torch.from_numpy(deal(context.order, now, context.batch_size, context.generator(epoch))))

    return draw


def weighing(context: CurriculumContext) -> Draw:
    """Importance weighting: every sample once an epoch, its loss times its weight."""
    weights = torch.from_numpy(context.weights).float()

    def draw(epoch: int) -> Drawn:
        index = torch.from_numpy(context.generator(epoch).permutation(len(weights)))
        return Drawn(index, weights[index])

    return draw


def sampling(context: CurriculumContext) -> Draw:
    """Importance sampling: draw with replacement by q = weight / N, multiply the loss by 1 / (N q): unbiased."""
    up_to = np.cumsum(context.weights)
    inverse = torch.from_numpy(1 / context.weights).float()

    def draw(epoch: int) -> Drawn:
        chance = context.generator(epoch).random(len(up_to))
        index = torch.from_numpy(np.searchsorted(up_to, up_to[-1] * chance, side="right"))
        return Drawn(index, inverse[index])

    return draw


def pool_sizes(curriculum: Curriculum, samples: int, steps: int) -> Integers:
    """How many of N samples each step t of T may draw from (T,): N (b + (1 - b) g(t / (a T))), and at least 256.

    Wu et al., "When Do Curricula Work?", ICLR 2021; all N where they are fewer than 256 (ours).
    """
    time = np.minimum(np.arange(steps) / (curriculum.full * steps), 1.0)
    sizes = samples * (curriculum.start + (1 - curriculum.start) * PACINGS[curriculum.pacing](time))
    return np.clip(sizes, max(FEWEST, curriculum.start * samples), samples).astype(np.int64)


DRAWS: Mapping[Method, Callable[[CurriculumContext], Draw]] = {
    kinds.PLAIN: plain,
    kinds.PACED: paced,
    kinds.DROPPING: dropping,
    kinds.WEIGHING: weighing,
    kinds.SAMPLING: sampling,
}
