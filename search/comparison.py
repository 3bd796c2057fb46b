"""Policies side by side: matched budgets, paired seeds, intervals."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from scipy.special import stdtrit

from search.results import StudyFolder, TrialRow
from search.study import SEARCHED
from trainables.spec import BudgetKind, Frozen, GranularityName

BASELINE = "uniform"
TOLERANCE = 0.01  # largest difference of two measured budgets that still counts as matched


class Estimate(Frozen):
    """A mean over seeds with Student's 95 % interval; a single seed has none."""

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Estimate the mean of at least one value."""
        mean = fmean(values)
        if len(values) == 1:
            return cls(mean=mean)
        sd = stdev(values)
        half = float(stdtrit(len(values) - 1, 0.975)) * sd / len(values) ** 0.5
        return cls(mean=mean, sd=sd, low=mean - half, high=mean + half)


class ComparisonRow(Frozen):
    """One policy at one sparsity, over seeds. Accuracies are on validation samples."""

    policy: str
    criterion: str
    schedule: str
    recovery: str
    granularity: GranularityName
    model: str
    dataset: str
    sparsity: float
    budget: BudgetKind
    setting: str  # rows of one setting were trained and pruned alike
    seeds: list[int]
    params_kept: int  # mean over seeds, as macs_kept
    macs_kept: int
    dense_accuracy: Estimate
    one_shot_accuracy: Estimate
    recalibrated_accuracy: Estimate
    val_accuracy: Estimate  # of the best epoch
    gap_to_uniform: Estimate | None  # of val_accuracy, paired by seed
    search_cost_seconds: float  # mean over seeds: allocation and profile, and every trial that a search evaluated
    trials: int  # evaluations, over all seeds
    layers: dict[str, float]  # layer -> density, mean over seeds
    trial_keys: list[str]  # the trial of each seed
    warnings: list[str]  # why the row may not be comparable
    test_accuracy: Estimate | None = None


class Headline(Frozen):
    """Gap to uniform over all sparsities: mean over seeds with its interval, and the largest mean gap."""

    mean_gap: float
    max_gap: float
    low: float | None
    high: float | None


class Comparison(Frozen):
    """What a study, or several, showed."""

    study: str
    rows: list[ComparisonRow]
    headline: dict[str, Headline]  # by policy, "policy, recovery" where there are several recoveries


class _Entry(Frozen):
    """What one policy reached in one cell."""

    winner: TrialRow
    cost: float
    trials: int


def compare(folders: Sequence[StudyFolder]) -> Comparison:
    """Compare the policies of all finished trials in these study folders; ValueError where there are none."""
    entries: dict[tuple[str, float, str], dict[int, _Entry]] = defaultdict(dict)
    for folder in folders:
        for policy, entry in _entries(folder):
            row = entry.winner
            entries[row.setting, row.sparsity, policy].setdefault(row.seed, entry)
    if not entries:
        raise ValueError("a comparison must have finished trials, but there are none; run the study first")
    rows = [
        _row(policy, by_seed, entries.get((setting, sparsity, BASELINE), {}))
        for (setting, sparsity, policy), by_seed in sorted(entries.items())
    ]
    return Comparison(
        study=" + ".join(f.folder.name for f in folders), rows=_checked(rows), headline=_headline(entries)
    )


def _entries(folder: StudyFolder) -> Iterable[tuple[str, _Entry]]:
    """Find what each policy reached in each cell: a search reaches the best of all that it looked at."""
    starts = folder.study.search.warm_start
    searched: dict[str, list[TrialRow]] = defaultdict(list)
    started: dict[str, list[TrialRow]] = defaultdict(list)
    for row in folder.rows():
        if row.val_accuracy is None or row.status == "failed":
            continue
        if row.policy == SEARCHED:
            searched[row.cell].append(row)
            continue
        if row.policy in starts:
            started[row.cell].append(row)
        yield row.policy, _Entry(winner=row, cost=row.allocation_seconds + row.profile_seconds, trials=1)
    for cell, own in searched.items():
        seen = [*started[cell], *own]
        winner = max(
            (row for row in seen if row.status == "done"), key=lambda row: row.val_accuracy or 0.0, default=None
        )
        if winner is not None:
            yield (
                SEARCHED,
                _Entry(winner=winner, cost=sum(r.seconds + r.profile_seconds for r in seen), trials=len(seen)),
            )


def _row(policy: str, by_seed: dict[int, _Entry], baseline: dict[int, _Entry]) -> ComparisonRow:
    winners = [by_seed[seed].winner for seed in sorted(by_seed)]
    first = winners[0]
    paired = [seed for seed in sorted(by_seed) if seed in baseline]
    gaps = [_accuracy(by_seed[seed]) - _accuracy(baseline[seed]) for seed in paired]

    def over_seeds(field: str) -> Estimate:
        return Estimate.of([getattr(row, field) for row in winners])

    return ComparisonRow(
        policy=policy,
        criterion=first.criterion,
        schedule=first.schedule,
        recovery=first.recovery,
        granularity=first.granularity,
        model=first.model,
        dataset=first.dataset,
        sparsity=first.sparsity,
        budget=first.budget,
        setting=first.setting,
        seeds=sorted(by_seed),
        params_kept=round(fmean(row.params_kept or 0 for row in winners)),
        macs_kept=round(fmean(row.macs_kept or 0 for row in winners)),
        dense_accuracy=over_seeds("dense_accuracy"),
        one_shot_accuracy=over_seeds("one_shot_accuracy"),
        recalibrated_accuracy=over_seeds("recalibrated_accuracy"),
        val_accuracy=over_seeds("val_accuracy"),
        gap_to_uniform=Estimate.of(gaps) if gaps else None,
        search_cost_seconds=fmean(entry.cost for entry in by_seed.values()),
        trials=sum(entry.trials for entry in by_seed.values()),
        layers={name: fmean(row.layers[name] for row in winners) for name in first.layers},
        trial_keys=[row.trial for row in winners],
        warnings=[] if set(by_seed) == set(baseline) or not baseline else ["seeds differ from uniform's"],
    )


def _accuracy(entry: _Entry) -> float:
    accuracy = entry.winner.val_accuracy
    assert accuracy is not None
    return accuracy


def _checked(rows: list[ComparisonRow]) -> list[ComparisonRow]:
    """Mark rows whose measured budget differs from a rival's, or that were trained unlike others that look the same."""
    budgets: dict[tuple[str, float], list[int]] = defaultdict(list)
    settings: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        budgets[row.setting, row.sparsity].append(_spent(row))
        settings[_looks(row)].add(row.setting)
    checked = []
    for row in rows:
        rivals = budgets[row.setting, row.sparsity]
        found = list(row.warnings)
        if max(rivals) - min(rivals) > TOLERANCE * max(rivals):
            found.append(f"{row.budget} kept differ from a rival's by more than {TOLERANCE:.0%}")
        if len(settings[_looks(row)]) > 1:
            found.append("trained or pruned unlike other rows of this model; compare within a setting only")
        checked.append(row.model_copy(update={"warnings": found}))
    return checked


def _spent(row: ComparisonRow) -> int:
    return row.params_kept if row.budget == "params" else row.macs_kept


def _looks(row: ComparisonRow) -> tuple[str, ...]:
    return (row.dataset, row.model, row.granularity, row.criterion, row.schedule, row.recovery, row.budget)


def _headline(entries: dict[tuple[str, float, str], dict[int, _Entry]]) -> dict[str, Headline]:
    by_seed: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    by_place: dict[str, list[float]] = defaultdict(list)
    recoveries = {_recovery(own) for own in entries.values()}
    for (setting, sparsity, policy), own in entries.items():
        baseline = entries.get((setting, sparsity, BASELINE), {})
        gaps = {seed: _accuracy(own[seed]) - _accuracy(baseline[seed]) for seed in own if seed in baseline}
        if policy == BASELINE or not gaps:
            continue
        name = policy if len(recoveries) == 1 else f"{policy}, {_recovery(own)}"
        by_place[name].append(fmean(gaps.values()))
        for seed, gap in gaps.items():
            by_seed[name][seed].append(gap)
    headline = {}
    for name, places in sorted(by_place.items()):
        mean = Estimate.of([fmean(gaps) for gaps in by_seed[name].values()])
        headline[name] = Headline(mean_gap=mean.mean, max_gap=max(places), low=mean.low, high=mean.high)
    return headline


def _recovery(by_seed: dict[int, _Entry]) -> str:
    return next(iter(by_seed.values())).winner.recovery
