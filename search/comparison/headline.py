"""Gaps to uniform over all sparsities, and wins between policies; only cells with matched budgets count."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.comparison.budgets import matched
from search.comparison.estimates import Estimate, Floats, holm, sign_flip
from search.comparison.winners import BySeed, Cell, Cells, Winner
from search.results.names import network_name
from search.results.scale import sign_of
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.spec import BudgetKind

BASELINE = "uniform"
ACCURACIES = ("one_shot_accuracy", "recalibrated_accuracy", "compensated_accuracy", "best_val_accuracy")
RECOVERED = ACCURACIES.index("best_val_accuracy")


class Gap(Frozen):
    """How far the metric is ahead of uniform's, above 0 if better.

    The mean over cells, its interval over seeds, and the largest mean.
    """

    mean_gap: float
    max_gap: float  # largest mean over seeds, among settings and sparsities
    max_sparsity: float  # the sparsity of max_gap
    low: float | None
    high: float | None


class Headline(Gap):
    """A policy's gap after recovery, and before it. All cells have the same seeds."""

    metric: str  # of the networks; a gap is in its unit, and above 0 if better
    one_shot: Gap
    recalibrated: Gap
    compensated: Gap | None  # None where the networks were not compensated
    networks: dict[str, Gap]  # after recovery, by network
    sparsities: list[float]
    seeds: list[int]
    cells: int  # networks x sparsities x seeds
    left_out: int  # results of the policy without a match of uniform's, or of a seed that other cells lack


class Versus(Frozen):
    """Two policies, by the metric after recovery, over the cells that both reached with matched budgets.

    The test flips the signs of each seed's mean difference. Few seeds cannot give a small p: `smallest_p` is the least
    possible. Holm's correction is over all pairs with uniform, and over all other pairs.
    """

    policy: str
    rival: str
    metric: str
    arm: str  # as in the headline's names; empty where all trials were pruned and recovered alike
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
    rules: str
    compensation: str
    recovery: str
    curriculum: str
    budget: BudgetKind
    metric: str

    @classmethod
    def of(cls, winner: Winner) -> "Arm":
        """Find the arm of a trial."""
        return cls(*(getattr(winner, name) for name in cls._fields))


class Target(NamedTuple):
    """A setting and the sparsity that it is pruned to."""

    setting: str
    sparsity: float


def summarised(cells: Cells) -> tuple[dict[str, Headline], list[Versus]]:
    """Compute the headline of each policy in each arm, and compare every pair of policies of an arm."""
    arms: dict[Arm, dict[Cell, BySeed]] = defaultdict(dict)
    for cell, by_seed in cells.items():
        arms[Arm.of(next(iter(by_seed.values())))][cell] = by_seed
    differing = [len(set(values)) > 1 for values in zip(*arms, strict=True)]
    headline: dict[str, Headline] = {}
    pairs: list[Versus] = []
    for arm, own in sorted(arms.items()):
        name = ", ".join(value for value, differs in zip(arm, differing, strict=True) if differs and value)
        grid = _Grid(own)
        headline |= {", ".join(filter(None, (policy, name))): gap for policy, gap in grid.headlines()}
        pairs += _corrected(list(grid.pairs(name)))
    return dict(sorted(headline.items())), pairs


class _Grid:
    """One arm as arrays of (policies, targets, seeds); NaN where a policy has no result."""

    def __init__(self, cells: Cells) -> None:
        firsts = {Target(cell.setting, cell.sparsity): next(iter(own.values())) for cell, own in cells.items()}
        self.policies = sorted({cell.policy for cell in cells})
        self.targets = sorted(firsts)
        self.networks = [network_name(firsts[target]) for target in self.targets]
        self.metric = next(iter(firsts.values())).metric
        self.seeds = sorted({seed for own in cells.values() for seed in own})
        policy_at = {policy: index for index, policy in enumerate(self.policies)}
        target_at = {target: index for index, target in enumerate(self.targets)}
        seed_at = {seed: index for index, seed in enumerate(self.seeds)}
        shape = (len(self.policies), len(self.targets), len(self.seeds))
        self.ranks = np.full((len(ACCURACIES), *shape), np.nan)
        self.spent, self.within = np.full(shape, np.nan), np.full(shape, np.nan)
        accuracies = attrgetter(*ACCURACIES)
        for cell, own in cells.items():
            for seed, winner in own.items():
                at = policy_at[cell.policy], target_at[Target(cell.setting, cell.sparsity)], seed_at[seed]
                self.ranks[:, *at] = [
                    np.nan if value is None else sign_of(winner) * value for value in accuracies(winner)
                ]
                self.spent[at], self.within[at] = winner.spent, winner.within

    def differences(self, policy: str, rival: str) -> Floats:
        """(accuracies, targets, seeds): how far a policy is ahead; NaN where budgets do not match."""
        a, b = self.policies.index(policy), self.policies.index(rival)
        ahead = self.ranks[:, a] - self.ranks[:, b]
        within = np.fmax(self.within[a], self.within[b])
        return np.where(matched(self.spent[a], self.spent[b], within), ahead, np.nan)

    def headlines(self) -> Iterator[tuple[str, Headline]]:
        """Compute each policy's gaps to uniform."""
        for policy in self.policies if BASELINE in self.policies else ():
            differences = self.differences(policy, BASELINE)
            targets, seeds = _block(differences[RECOVERED])
            if policy == BASELINE or not seeds.size:
                continue
            one_shot, recalibrated, compensated, recovered = differences
            uncompensated = np.isnan(compensated[np.ix_(targets, seeds)]).any()
            by_network: dict[str, list[int]] = defaultdict(list)
            for target in targets.tolist():
                by_network[self.networks[target]].append(target)
            tried = int(np.isfinite(self.spent[self.policies.index(policy)]).sum())
            yield (
                policy,
                Headline(
                    **dict(self._gap(recovered, targets, seeds)),
                    metric=self.metric,
                    one_shot=self._gap(one_shot, targets, seeds),
                    recalibrated=self._gap(recalibrated, targets, seeds),
                    compensated=None if uncompensated else self._gap(compensated, targets, seeds),
                    networks={name: self._gap(recovered, np.array(own), seeds) for name, own in by_network.items()},
                    sparsities=sorted({self.targets[target].sparsity for target in targets}),
                    seeds=[self.seeds[seed] for seed in seeds],
                    cells=len(targets) * len(seeds),
                    left_out=tried - len(targets) * len(seeds),
                ),
            )

    def _gap(self, differences: Floats, targets: NDArray[np.intp], seeds: NDArray[np.intp]) -> Gap:
        block = differences[np.ix_(targets, seeds)]
        over_seeds, by_target = Estimate.of(block.mean(axis=0).tolist()), block.mean(axis=1)
        largest = int(by_target.argmax())
        return Gap(
            mean_gap=over_seeds.mean,
            max_gap=float(by_target[largest]),
            max_sparsity=self.targets[targets[largest]].sparsity,
            low=over_seeds.low,
            high=over_seeds.high,
        )

    def pairs(self, arm: str) -> Iterator[Versus]:
        """Compare every two policies that share a cell; uniform is always the rival."""
        for policy, rival in combinations(sorted(self.policies, key=lambda policy: policy == BASELINE), 2):
            ahead = self.differences(policy, rival)[RECOVERED]
            if np.isnan(ahead).all():
                continue
            targets, seeds = _block(ahead)
            by_seed = ahead[np.ix_(targets, seeds)].mean(axis=0).tolist()
            test = sign_flip(by_seed) if by_seed else None
            yield Versus(
                policy=policy,
                rival=rival,
                metric=self.metric,
                arm=arm,
                wins=int((ahead > 0).sum()),
                ties=int((ahead == 0).sum()),
                losses=int((ahead < 0).sum()),
                mean_difference=float(np.mean(by_seed)) if by_seed else None,
                seeds=[self.seeds[seed] for seed in seeds],
                p=test.p if test else None,
                smallest_p=test.smallest_p if test else None,
                holm_p=None,
            )


def _block(differences: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the targets with any match, and the seeds that match at all of them; no seed where nothing matches."""
    present = np.isfinite(differences)
    targets = np.flatnonzero(present.any(axis=1))
    return targets, np.flatnonzero(present[targets].all(axis=0) & bool(targets.size))


def _corrected(pairs: list[Versus]) -> list[Versus]:
    """Correct the p-values of pairs with uniform, and those of all other pairs, for their number."""
    adjusted: dict[int, float] = {}
    for baseline in (True, False):
        family = {i: v.p for i, v in enumerate(pairs) if (v.rival == BASELINE) is baseline and v.p is not None}
        adjusted |= dict(zip(family, holm(list(family.values())), strict=True))
    return [pair.model_copy(update={"holm_p": adjusted.get(index)}) for index, pair in enumerate(pairs)]
