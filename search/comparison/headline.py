"""Gaps to uniform over all sparsities, and who beats whom: only among cells that match, seeds kept together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import combinations
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.comparison.budgets import matched
from search.comparison.estimates import Estimate, Floats, holm, sign_flip
from search.comparison.winners import Winner
from search.results.names import network_name
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.spec import BudgetKind

BASELINE = "uniform"
ACCURACIES = ("one_shot_accuracy", "recalibrated_accuracy", "best_val_accuracy")
RECOVERED = ACCURACIES.index("best_val_accuracy")

Cells = Mapping[tuple[str, float, str], Mapping[int, Winner]]  # setting, sparsity, policy -> seed -> winner


class Gap(Frozen):
    """Accuracy ahead of uniform's: mean over cells with its interval over seeds, and the largest mean of one place."""

    mean_gap: float
    max_gap: float
    max_sparsity: float  # where the largest is
    low: float | None
    high: float | None


class Headline(Gap):
    """A policy's gap after recovery, and before. All cells have the same seeds; those that lack one are left out."""

    one_shot: Gap
    recalibrated: Gap
    networks: dict[str, Gap]  # after recovery, by network
    sparsities: list[float]
    seeds: list[int]
    cells: int  # network x sparsity x seed
    left_out: int  # cells where the policy has a result without a match of uniform's, or other seeds than elsewhere


class Versus(Frozen):
    """Two policies over the cells that both reached with matched budgets, by accuracy after recovery.

    The test flips the signs of each seed's mean difference. With few seeds it cannot be small: `smallest_p` is what it
    could reach at best. Holm's correction is over all pairs with uniform, and over all other pairs.
    """

    policy: str
    rival: str
    arm: str  # as in the headline's names; empty where all was pruned and recovered alike
    wins: int
    ties: int
    losses: int
    mean_difference: float | None  # over the seeds below; None where no seed has every cell
    seeds: list[int]
    p: float | None
    smallest_p: float | None
    holm_p: float | None


class Arm(NamedTuple):
    """What results must share to be averaged over networks and sparsities."""

    granularity: GranularityName
    criterion: str
    before: str
    schedule: str
    recovery: str
    curriculum: str
    budget: BudgetKind

    @classmethod
    def of(cls, winner: Winner) -> "Arm":
        """Tell how this was pruned and recovered."""
        return cls(*(getattr(winner, name) for name in cls._fields))


def summarised(cells: Cells) -> tuple[dict[str, Headline], list[Versus]]:
    """Find the headline of each policy and of each arm, and every pair of policies of an arm."""
    arms: dict[Arm, dict[tuple[str, float, str], Mapping[int, Winner]]] = defaultdict(dict)
    for key, by_seed in cells.items():
        arms[Arm.of(next(iter(by_seed.values())))][key] = by_seed
    differing = [len(set(values)) > 1 for values in zip(*arms, strict=True)]
    headline: dict[str, Headline] = {}
    pairs: list[Versus] = []
    for arm, own in sorted(arms.items()):
        name = ", ".join(value for value, differs in zip(arm, differing, strict=True) if differs and value)
        grid = _Grid(own)
        headline |= {", ".join(filter(None, (policy, name))): found for policy, found in grid.headlines()}
        pairs += _corrected(list(grid.pairs(name)))
    return dict(sorted(headline.items())), pairs


class _Grid:
    """One arm as arrays of places (setting and sparsity) and seeds, NaN where a policy reached nothing."""

    def __init__(self, cells: Cells) -> None:
        firsts = {(setting, sparsity): next(iter(own.values())) for (setting, sparsity, _), own in cells.items()}
        self.policies = sorted({policy for _, _, policy in cells})
        self.places = sorted(firsts)
        self.networks = [network_name(firsts[place]) for place in self.places]
        self.seeds = sorted({seed for own in cells.values() for seed in own})
        policy_at, place_at, seed_at = (
            {name: index for index, name in enumerate(names)} for names in (self.policies, self.places, self.seeds)
        )
        shape = (len(self.policies), len(self.places), len(self.seeds))
        self.accuracy = np.full((len(ACCURACIES), *shape), np.nan)
        self.spent = np.full(shape, np.nan)
        accuracies = attrgetter(*ACCURACIES)
        for (setting, sparsity, policy), own in cells.items():
            for seed, winner in own.items():
                at = policy_at[policy], place_at[setting, sparsity], seed_at[seed]
                self.accuracy[:, *at] = accuracies(winner)
                self.spent[at] = winner.spent

    def apart(self, policy: str, rival: str) -> Floats:
        """(accuracies, places, seeds): how far a policy is ahead, NaN where the two do not match."""
        a, b = self.policies.index(policy), self.policies.index(rival)
        ahead = self.accuracy[:, a] - self.accuracy[:, b]
        return np.where(matched(self.spent[a], self.spent[b]), ahead, np.nan)

    def headlines(self) -> Iterator[tuple[str, Headline]]:
        """Gaps to uniform, policy by policy."""
        for policy in self.policies if BASELINE in self.policies else ():
            apart = self.apart(policy, BASELINE)
            places, seeds = _block(apart[RECOVERED])
            if policy == BASELINE or not seeds.size:
                continue
            one_shot, recalibrated, recovered = (self._gap(gaps, places, seeds) for gaps in apart)
            networks = {name: [p for p in places if self.networks[p] == name] for name in dict.fromkeys(self.networks)}
            tried = int(np.isfinite(self.spent[self.policies.index(policy)]).sum())
            yield (
                policy,
                Headline(
                    **dict(recovered),
                    one_shot=one_shot,
                    recalibrated=recalibrated,
                    networks={
                        name: self._gap(apart[RECOVERED], np.array(own), seeds) for name, own in networks.items() if own
                    },
                    sparsities=sorted({self.places[place][1] for place in places}),
                    seeds=[self.seeds[seed] for seed in seeds],
                    cells=len(places) * len(seeds),
                    left_out=tried - len(places) * len(seeds),
                ),
            )

    def _gap(self, gaps: Floats, places: NDArray[np.intp], seeds: NDArray[np.intp]) -> Gap:
        block = gaps[np.ix_(places, seeds)]
        over_seeds, by_place = Estimate.of(block.mean(axis=0).tolist()), block.mean(axis=1)
        largest = int(by_place.argmax())
        return Gap(
            mean_gap=over_seeds.mean,
            max_gap=float(by_place[largest]),
            max_sparsity=self.places[places[largest]][1],
            low=over_seeds.low,
            high=over_seeds.high,
        )

    def pairs(self, arm: str) -> Iterator[Versus]:
        """Every pair of policies that share a cell; uniform is always the rival."""
        for one, other in combinations(sorted(self.policies, key=lambda policy: policy == BASELINE), 2):
            apart = self.apart(one, other)[RECOVERED]
            if np.isnan(apart).all():
                continue
            places, seeds = _block(apart)
            differences = apart[np.ix_(places, seeds)].mean(axis=0).tolist()
            test = sign_flip(differences) if differences else None
            yield Versus(
                policy=one,
                rival=other,
                arm=arm,
                wins=int((apart > 0).sum()),
                ties=int((apart == 0).sum()),
                losses=int((apart < 0).sum()),
                mean_difference=float(np.mean(differences)) if differences else None,
                seeds=[self.seeds[seed] for seed in seeds],
                p=test.p if test else None,
                smallest_p=test.smallest_p if test else None,
                holm_p=None,
            )


def _block(apart: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The places that have any match, and the seeds that match at all of them; no seed where there is no match."""
    present = np.isfinite(apart)
    places = np.flatnonzero(present.any(axis=1))
    return places, np.flatnonzero(present[places].all(axis=0) & bool(places.size))


def _corrected(pairs: list[Versus]) -> list[Versus]:
    """Correct the tests of pairs with uniform, and those of all others, for their number."""
    adjusted: dict[int, float] = {}
    for baseline in (True, False):
        family = {i: v.p for i, v in enumerate(pairs) if (v.rival == BASELINE) is baseline and v.p is not None}
        adjusted |= dict(zip(family, holm(list(family.values())), strict=True))
    return [pair.model_copy(update={"holm_p": adjusted.get(index)}) for index, pair in enumerate(pairs)]
