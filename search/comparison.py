"""Policies side by side: matched budgets, paired seeds, intervals."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from search.estimates import Estimate
from search.headline import BASELINE, Cells, Headline, Versus, matched, summarised
from search.results import StudyFolder
from search.unlike import unlike
from search.winners import TOLERANCE, Layers, Winner, winners
from trainables.spec import BudgetKind, Frozen, GranularityName

__all__ = ["BASELINE", "RECOVERY", "Comparison", "ComparisonRow", "Estimate", "HeldOut", "compare"]

RECOVERY = "recovery"  # among what seeds cover, where networks were trained after they were pruned
CONTROLS = {"random", "random-best", "scratch", "scratch-b"}  # policies, criteria and recoveries


class ComparisonRow(Frozen):
    """One policy at one sparsity, over seeds. Accuracies are on validation samples."""

    policy: str
    criterion: str
    schedule: str
    before: str  # prunings that came before this one
    recovery: str
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    sparsity: float
    budget: BudgetKind
    setting: str  # rows of one setting were trained and pruned alike
    family: str  # rows of one family differ in nothing but policy, sparsity and recovery
    control: bool  # random or from scratch: what the other rows have to beat
    seeds: list[int]
    seeds_cover: list[str]  # what was repeated for each seed; the split of the samples never is
    params_kept: int  # mean over seeds, as macs_kept
    params_total: int  # of the dense network
    params_density: float  # fraction kept
    macs_kept: int
    macs_total: int
    macs_density: float
    latency_ms: float | None  # of one image, mean over seeds; None: the study did not ask for it
    dense_accuracy: Estimate
    one_shot_accuracy: Estimate
    recalibrated_accuracy: Estimate
    val_accuracy: Estimate  # of the best epoch
    gap_to_uniform: Estimate | None  # of val_accuracy, paired by seed, where budgets match
    search_cost_seconds: float  # mean over seeds: allocation and profile, and every trial that a search evaluated
    search_cost_evaluations: float | None  # the same in passes of all calibration samples, and trials evaluated
    search_cost_images: float | None  # the same in images, trained on or not; None: some ran by an older version
    trials: int  # that a search evaluated, or there are, over all seeds
    layers: dict[str, float]  # layer -> density, mean over seeds
    trial_keys: list[str]  # the trial of each seed
    warnings: list[str]  # why the row may not be comparable
    test_accuracy: Estimate | None = None


class HeldOut(Frozen):
    """When the test split was read for the trials of this comparison."""

    trials: int
    read_now: int  # the others were read before
    first: str  # time in UTC, ISO 8601, as last
    last: str
    by: list[str]  # the comparisons that read it


class Comparison(Frozen):
    """What a study, or several, showed."""

    study: str
    rows: list[ComparisonRow]
    headline: dict[str, Headline]  # by policy, followed by what else differs: "erk, scratch"
    versus: list[Versus]
    warnings: list[str]  # what the headline and the counts leave out
    held_out: HeldOut | None = None


def compare(folders: Sequence[StudyFolder]) -> Comparison:
    """Compare the policies of all finished trials in these study folders; ValueError where there are none."""
    found = winners(folders)
    if not found.cells:
        raise ValueError("a comparison must have finished trials, but there are none; run the study first")
    apart = unlike(found.cells, folders)
    budgets = _budgets(found.cells)
    cells = [(key, _in_order(by_seed)) for key, by_seed in sorted(found.cells.items())]
    baselines = [found.cells.get((setting, sparsity, BASELINE), {}) for (setting, sparsity, _), _ in cells]
    estimates = _estimates([own for _, own in cells], baselines)
    rows = []
    for ((setting, sparsity, policy), own), baseline, estimated in zip(cells, baselines, estimates, strict=True):
        warnings = _warnings(own, baseline, budgets[setting, sparsity], apart.get(setting))
        rows.append(_row(policy, own, estimated, found.layers, warnings))
    headline, versus = summarised({key: own for key, own in found.cells.items() if key[0] not in apart})
    lacking: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, told in headline.items():
        if told.left_out:
            lacking[told.left_out, told.left_out + told.cells].append(name)
    left_out = [
        f"{', '.join(names)}: {lost} of {all_of_them} cells are left out of the headline, as uniform has no match "
        "there or other cells lack the seed"
        for (lost, all_of_them), names in lacking.items()
    ]
    for policy, cells_lost in sorted(found.in_vain.items()):
        left_out.append(
            f"{policy}: no row for {cells_lost} cell{'s' * (cells_lost > 1)} (a sparsity and a seed), as no trial of "
            "the search ended there within its constraints"
        )
    if apart:
        left_out.append("what was trained or pruned unlike others that look the same is left out of every headline")
    return Comparison(
        study=" + ".join(f.folder.name for f in folders),
        rows=rows,
        headline=headline,
        versus=versus,
        warnings=left_out,
    )


def _in_order(by_seed: Mapping[int, Winner]) -> list[Winner]:
    return [by_seed[seed] for seed in sorted(by_seed)]


class _Estimated(NamedTuple):
    """What a row says of its seeds."""

    dense_accuracy: Estimate
    one_shot_accuracy: Estimate
    recalibrated_accuracy: Estimate
    val_accuracy: Estimate
    gap_to_uniform: Estimate | None


def _estimates(cells: Sequence[Sequence[Winner]], baselines: Sequence[Mapping[int, Winner]]) -> Iterator[_Estimated]:
    """Estimate all rows at once, cell by cell."""
    pairs = [
        [(winner, by_seed.get(winner.seed)) for winner in own] for own, by_seed in zip(cells, baselines, strict=True)
    ]
    gaps = [
        [winner.val_accuracy - rival.val_accuracy for winner, rival in own if rival and matched(winner, rival)]
        for own in pairs
    ]
    of_gaps = iter(Estimate.of_all([own for own in gaps if own]))
    columns = [
        Estimate.of_all([[getattr(winner, name) for winner in own] for own in cells])
        for name in _Estimated._fields
        if name != "gap_to_uniform"
    ]
    for own, dense, one_shot, recalibrated, best in zip(gaps, *columns, strict=True):
        yield _Estimated(dense, one_shot, recalibrated, best, next(of_gaps) if own else None)


def _row(
    policy: str, own: Sequence[Winner], estimated: _Estimated, layers: Layers, warnings: list[str]
) -> ComparisonRow:
    first = own[0]
    params, macs = fmean([winner.params_kept for winner in own]), fmean([winner.macs_kept for winner in own])
    return ComparisonRow(
        policy=policy,
        criterion=first.criterion,
        schedule=first.schedule,
        before=first.before,
        recovery=first.recovery,
        granularity=first.granularity,
        model=first.model,
        width=first.width,
        dataset=first.dataset,
        sparsity=first.sparsity,
        budget=first.budget,
        setting=first.setting,
        family=first.family or first.setting,
        control=not CONTROLS.isdisjoint((policy, first.criterion, first.recovery)),
        seeds=[winner.seed for winner in own],
        seeds_cover=_covered(own),
        params_kept=round(params),
        params_total=first.params_total,
        params_density=params / first.params_total,
        macs_kept=round(macs),
        macs_total=first.macs_total,
        macs_density=macs / first.macs_total,
        latency_ms=_mean([winner.latency_ms for winner in own]),
        **estimated._asdict(),
        search_cost_seconds=fmean([winner.cost_seconds for winner in own]),
        search_cost_evaluations=_mean([winner.cost_evaluations for winner in own]),
        search_cost_images=_mean([winner.cost_images for winner in own]),
        trials=sum(winner.trials for winner in own),
        layers=layers.mean([winner.place for winner in own]),
        trial_keys=[winner.trial for winner in own],
        warnings=warnings,
    )


def _mean(numbers: Sequence[float | None]) -> float | None:
    """Average what every seed has; None where one lacks it."""
    known = [number for number in numbers if number is not None]
    return fmean(known) if len(known) == len(numbers) else None


def _covered(own: Sequence[Winner]) -> list[str]:
    """A seed stands for a dense network of its own, unless that is taken as it was built, and for a trial's draws."""
    trained = ["dense training"] if own[0].dense_epochs != 0 else []
    recovered = [RECOVERY] if any(winner.epochs > 1 for winner in own) else []
    return [*trained, "pruning", *recovered]


def _budgets(cells: Cells) -> dict[tuple[str, float], dict[int, float]]:
    """What the rivals of a cell should keep, by setting and sparsity, then by seed: uniform's, else their median."""
    kept: dict[tuple[str, float], dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for (setting, sparsity, policy), own in cells.items():
        for seed, winner in own.items():
            kept[setting, sparsity][seed][policy] = winner.spent
    return {
        place: {
            seed: rivals[BASELINE] if BASELINE in rivals else median(rivals.values())
            for seed, rivals in by_seed.items()
        }
        for place, by_seed in kept.items()
    }


def _warnings(
    own: Sequence[Winner], baseline: Mapping[int, Winner], budgets: Mapping[int, float], apart: str | None
) -> list[str]:
    """Say why a row may not be comparable: other seeds, another budget, or training unlike what looks the same."""
    found = ["seeds differ from uniform's"] if baseline and {winner.seed for winner in own} != set(baseline) else []
    off = max(abs(winner.spent / budgets[winner.seed] - 1) for winner in own)
    if off > TOLERANCE:
        kind, rival = own[0].budget, "uniform's" if baseline else "the rivals' median"
        found.append(f"{kind} kept differ from {rival} by {off:.1%}: its gap, headline and counts leave them out")
    if apart is not None:
        found.append(f"trained or pruned unlike other rows of this model ({apart}); compare within a setting only")
    return found
