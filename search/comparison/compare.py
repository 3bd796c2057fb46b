"""Policies side by side: matched budgets, paired seeds, intervals."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from search.comparison.budgets import matched
from search.comparison.estimates import Estimate
from search.comparison.gaps import gaps, unfair
from search.comparison.headline import BASELINE, Cells, Headline, Versus, summarised
from search.comparison.mismatches import unlike
from search.comparison.winners import Layers, Winner, winners
from search.results.folder import StudyFolder
from trainables.frozen import Frozen
from trainables.names import GranularityName
from trainables.spec import BudgetKind

__all__ = ["BASELINE", "RECOVERY", "Comparison", "ComparisonRow", "Estimate", "HeldOut", "compare"]

RECOVERY = "recovery"  # among what seeds cover, where networks were trained after they were pruned
ACCURACIES = ("dense_accuracy", "one_shot_accuracy", "recalibrated_accuracy", "best_val_accuracy")
CONTROLS = {"random", "random-best", "scratch", "scratch-b"}  # policies, criteria and recoveries


class ComparisonRow(Frozen):
    """One policy at one sparsity, over seeds. Accuracies are on validation samples."""

    policy: str
    criterion: str
    schedule: str
    before: str  # prunings that came before this one
    recovery: str
    curriculum: str
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    sparsity: float
    budget: BudgetKind
    setting: str  # rows of one setting were trained and pruned alike
    family: str  # rows of one family differ in nothing but policy, sparsity, recovery and curriculum
    control_setting: str  # of the rows that this curriculum is held against; empty where it has no control
    standard_setting: str  # of the rows that follow no curriculum; empty where these are
    control: bool  # random, from scratch or a curriculum's control: what the other rows have to beat
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
    best_val_accuracy: Estimate  # of the best epoch
    gap_to_uniform: Estimate | None  # of best_val_accuracy, paired by seed, where budgets match
    gap_to_control: Estimate | None  # the same to its curriculum's control, where epochs and images match, too
    gap_to_standard: Estimate | None  # the same to training without a curriculum
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
    ahead = gaps(found.cells)
    cells = {cell: [by_seed[seed] for seed in sorted(by_seed)] for cell, by_seed in sorted(found.cells.items())}
    controls = {own[0].control_setting for own in cells.values()}
    rows = []
    for (cell, own), reached in zip(cells.items(), _accuracies(list(cells.values())), strict=True):
        setting, sparsity, policy = cell
        baseline = found.cells.get((setting, sparsity, BASELINE), {})
        warnings = _warnings(own, baseline, budgets[setting, sparsity], apart.get(setting))
        warnings += unfair(cell, found.cells[cell], found.cells)
        control = setting in controls or not CONTROLS.isdisjoint((policy, own[0].criterion, own[0].recovery))
        rows.append(_row(policy, own, control, reached | ahead[cell], found.layers, warnings))
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


def _accuracies(cells: Sequence[Sequence[Winner]]) -> Iterator[dict[str, Any]]:
    """Estimate what all rows reached at once, cell by cell."""
    columns = [Estimate.of_all([[getattr(winner, name) for winner in own] for own in cells]) for name in ACCURACIES]
    for estimates in zip(*columns, strict=True):
        yield dict(zip(ACCURACIES, estimates, strict=True))


def _row(
    policy: str,
    own: Sequence[Winner],
    control: bool,
    estimated: Mapping[str, Any],
    layers: Layers,
    warnings: list[str],
) -> ComparisonRow:
    first = own[0]
    params, macs = fmean([winner.params_kept for winner in own]), fmean([winner.macs_kept for winner in own])
    return ComparisonRow(
        policy=policy,
        criterion=first.criterion,
        schedule=first.schedule,
        before=first.before,
        recovery=first.recovery,
        curriculum=first.curriculum,
        granularity=first.granularity,
        model=first.model,
        width=first.width,
        dataset=first.dataset,
        sparsity=first.sparsity,
        budget=first.budget,
        setting=first.setting,
        family=first.family or first.setting,
        control_setting=first.control_setting,
        standard_setting=first.standard_setting,
        control=control,
        seeds=[winner.seed for winner in own],
        seeds_cover=_covered(own),
        params_kept=round(params),
        params_total=first.params_total,
        params_density=params / first.params_total,
        macs_kept=round(macs),
        macs_total=first.macs_total,
        macs_density=macs / first.macs_total,
        latency_ms=_mean([winner.latency_ms for winner in own]),
        **estimated,
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
    if unmatched := [winner for winner in own if not matched(winner.spent, budgets[winner.seed])]:
        off = max(abs(winner.spent / budgets[winner.seed] - 1) for winner in unmatched)
        kind, rival = own[0].budget, "uniform's" if baseline else "the rivals' median"
        found.append(f"{kind} kept differ from {rival} by {off:.1%}: its gap, headline and counts leave them out")
    if apart is not None:
        found.append(f"trained or pruned unlike other rows of this model ({apart}); compare within a setting only")
    return found
