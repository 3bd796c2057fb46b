"""Which samples each epoch of a training draws under a curriculum, by how easy the samples are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainables.curriculum_spec import Curriculum
from trainables.data.batches import Drawn
from trainables.learnability import curriculum_kinds as kinds
from trainables.learnability.curriculum_kinds import Method, is_scored, kind_of
from trainables.learnability.growing_deck import deal
from trainables.own_function import is_external
from trainables.plugins import load
from trainables.training.train import Draw

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEWEST = 256  # a paced curriculum begins with at least this many samples
FLOOR = 0.1  # least weight of a sample; the mean weight is 1; ours

PACINGS: Mapping[str, Callable[[Floats], Floats]] = {  # time in [0, 1] -> fraction added of the samples absent at first
    "linear": lambda x: x,
    "quadratic": lambda x: x**2,
    "root": lambda x: x**0.5,
    "step": lambda x: np.floor(x),
    "exponential": lambda x: np.expm1(10.0 * x) / np.expm1(10.0),
    "logarithmic": lambda x: 1.0 + 0.1 * np.log(x + np.exp(-10.0)),
}


@dataclass(frozen=True, eq=False)
class CurriculumContext:
    """A training under a curriculum, and how the curriculum orders and weighs the N samples.

    A function of the user's own gets the easy samples first.
    """

    curriculum: Curriculum
    order: Integers  # (N,), positions in the split, the preferred samples first
    weights: Floats  # (N,), of mean 1; a preferred sample has a higher weight
    epochs: int
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch: as many as without a curriculum."""
        return -(-len(self.order) // self.batch_size)

    def generator(self, epoch: int) -> np.random.Generator:
        """Return the random generator of this epoch, counted from 0. A repeated epoch draws the same samples."""
        return np.random.default_rng((1 + epoch, self.seed))


def draws(
    curriculum: Curriculum, ease: Floats | None, labels: Integers, epochs: int, batch_size: int, seed: int
) -> Draw:
    """Return what each epoch of a training draws, counted from 0. An epoch always draws N samples.

    ease: (N,), higher is easier, on any scale; None is allowed where `is_scored` is False. Only the ranks count: among
    all samples or, if the curriculum is balanced, among the samples of a class (ours). Chance breaks ties, in the same
    way in every epoch.
    """
    kind = kind_of(curriculum.name)
    chance = np.random.default_rng((0, seed)).random((2, len(labels)))
    groups = labels if curriculum.balanced else np.zeros_like(labels)
    if ease is None or not is_scored(curriculum):
        ease = np.zeros(len(labels))
    assert not np.isnan(ease).any()
    burden = ease.copy() if kind.hard else -ease
    if curriculum.shuffled:
        burden[np.lexsort((chance[1], groups))] = burden[np.argsort(groups, kind="stable")]
    ranked, quantile = _ranked(burden, groups, chance[0])
    order = ranked[np.argsort(quantile, kind="stable")]
    weights = _weights(burden, groups, ranked, quantile)
    method = load("curriculum", curriculum.name) if is_external(curriculum.name) else DRAWS[kind.method]
    draw: Draw = method(CurriculumContext(curriculum, order, weights, epochs, batch_size, seed))
    return draw


def _ranked(burden: Floats, groups: Integers, chance: Floats) -> tuple[Integers, Floats]:
    """Sort by group, then burden, then chance: positions (N,) in the split, and the quantile (N,) of each in its group.

    Sorted by the quantile, groups take turns in proportion to their sizes, as in the Sainte-Laguë method (ours).
    """
    ranked = np.lexsort((chance, burden, groups))
    sizes, group = np.bincount(groups), groups[ranked]
    first = np.cumsum(sizes) - sizes
    return ranked, (np.arange(len(group)) - first[group] + 0.5) / sizes[group]


def _weights(burden: Floats, groups: Integers, ranked: Integers, quantile: Floats) -> Floats:
    """Weigh each sample by its rank, falling evenly from 1.9 to 0.1 (ours).

    The mean of each group is 1. Samples of equal burden have equal weights.
    """
    burden, groups = burden[ranked], groups[ranked]
    level = np.zeros(len(quantile), np.int64)
    level[1:] = np.cumsum((burden[1:] != burden[:-1]) | (groups[1:] != groups[:-1]))
    weights = np.empty(len(quantile))
    weights[ranked] = FLOOR + 2 * (1 - FLOOR) * (1 - np.bincount(level, quantile) / np.bincount(level))[level]
    return weights


def plain(context: CurriculumContext) -> Draw:
    """Draw every sample once an epoch, as without a curriculum."""
    return lambda _: None


def paced(context: CurriculumContext) -> Draw:
    """Begin with the first samples of the order and add the others at the given pace (Wu et al., ICLR 2021)."""
    return _dealt(context, pool_sizes(context.curriculum, len(context.order), context.epochs * context.steps))


def dropping(context: CurriculumContext) -> Draw:
    """Leave out the last samples of the order; the others come more often."""
    kept = max(1, round((1 - context.curriculum.fraction) * len(context.order)))
    return _dealt(context, np.full(context.epochs * context.steps, kept))


def _dealt(context: CurriculumContext, sizes: Integers) -> Draw:
    """Draw each step from the first `sizes` of the order. sizes: (epochs * steps,)."""

    def draw(epoch: int) -> Drawn:
        now = sizes[epoch * context.steps :][: context.steps]
        return Drawn(torch.from_numpy(deal(context.order, now, context.batch_size, context.generator(epoch))))

    return draw


def weighing(context: CurriculumContext) -> Draw:
    """Importance weighting: draw every sample once an epoch and multiply its loss by its weight."""
    weights = torch.from_numpy(context.weights).float()

    def draw(epoch: int) -> Drawn:
        index = torch.from_numpy(context.generator(epoch).permutation(len(weights)))
        return Drawn(index, weights[index])

    return draw


def sampling(context: CurriculumContext) -> Draw:
    """Importance sampling: draw with replacement by q = weight / N, multiply the loss by 1 / (N q); it is unbiased."""
    up_to = np.cumsum(context.weights)
    inverse = torch.from_numpy(1 / context.weights).float()

    def draw(epoch: int) -> Drawn:
        chance = context.generator(epoch).random(len(up_to))
        index = torch.from_numpy(np.searchsorted(up_to, up_to[-1] * chance, side="right"))
        return Drawn(index, inverse[index])

    return draw


def pool_sizes(curriculum: Curriculum, samples: int, steps: int) -> Integers:
    """Return from how many of N samples each step t of T may draw: N (b + (1 - b) g(t / (a T))), and at least 256.

    Returns (T,). Source: Wu et al., "When Do Curricula Work?", ICLR 2021. All N where N is less than 256 (ours).
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
