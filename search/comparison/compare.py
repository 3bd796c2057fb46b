"""Compare policies at matched budgets, with paired seeds and intervals."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import Field

from search.comparison.estimates import Estimate, of_each
from search.comparison.gaps import Gaps, gaps, unfair
from search.comparison.headline import BASELINE, Headline, Versus, summarised
from search.comparison.left_out import expected_budgets, incomparable, left_out, much_fixed_in
from search.comparison.mismatches import mismatches
from search.comparison.pairs import Pair, checked_margin, pairs_of
from search.comparison.winners import Winner, winners
from search.results.folder import StudyFolder
from trainables.frozen import Frozen
from trainables.names import DRAWN_AGAIN, GranularityName
from trainables.spec import BudgetKind

__all__ = ["BASELINE", "RECOVERY", "Comparison", "ComparisonRow", "Estimate", "HeldOut", "compare"]

RECOVERY = "recovery"  # in `seeds_cover` where networks were trained after they were pruned
SAME = (  # fields that the trials of a row share
    *("criterion", "schedule", "before", "rules", "compensation", "recovery", "curriculum", "granularity"),
    *("model", "width", "dataset", "metric", "higher_is_better", "sparsity", "budget", "setting", "control_setting"),
    *("standard_setting", "params_total", "macs_total", "device"),
)
MEANS = (  # fields that are means over seeds
    *("params_fixed", "latency_ms", "latency_density", "predicted_latency_ms"),
    *("quantised_bytes", "exported_bytes", "quantised_latency_ms", "exported_latency_ms"),
)
OPTIONAL = ("compensated_accuracy", "quantised_accuracy")  # accuracies that not every trial has
CONTROLS = {"random", "random-best", *DRAWN_AGAIN}  # policies, criteria and recoveries


class Accuracies(NamedTuple):
    """Validation accuracies of a cell, over seeds."""

    dense_accuracy: Estimate
    one_shot_accuracy: Estimate
    recalibrated_accuracy: Estimate
    best_val_accuracy: Estimate


class ComparisonRow(Frozen):
    """One policy at one sparsity, over seeds.

    Accuracies, or the values of another metric, are on validation samples.
    """

    policy: str
    criterion: str
    schedule: str
    before: str  # earlier prunings of the same network; empty where there were none
    rules: str  # rules for layers; empty where there are none
    compensation: str  # "compensated" where least squares re-fitted the layers after pruning; otherwise empty
    recovery: str
    curriculum: str
    granularity: GranularityName
    model: str
    width: float
    dataset: str
    metric: str  # what judges the networks; it names the fields of its values
    higher_is_better: bool
    sparsity: float
    budget: BudgetKind
    setting: str  # rows of one setting were trained and pruned alike
    family: str  # rows of one family differ in policy, sparsity, compensation, recovery and curriculum only
    control_setting: str  # setting of this curriculum's control; empty where it has none
    standard_setting: str  # setting of the rows without a curriculum; empty where this row follows none
    control: bool  # random, from scratch or a curriculum's control: other rows have to beat it
    seeds: list[int]
    seeds_cover: list[str]  # what each seed repeated; the split of the samples is the same for all seeds
    params_kept: int  # mean over seeds, as macs_kept
    params_total: int  # of the dense network
    params_density: float  # fraction kept
    macs_kept: int
    macs_total: int
    macs_density: float
    params_fixed: float | None  # parameters that are never pruned, mean over seeds; None: unknown
    latency_ms: float | None  # of one batch, mean over seeds; None: the study did not measure it
    quantised_bytes: float | None  # of the int8 file, mean over seeds, as the next three
    exported_bytes: float | None  # of the float32 ONNX file that it was made from
    quantised_latency_ms: float | None  # of one batch in onnxruntime on the CPU
    exported_latency_ms: float | None
    latency_density: float | None  # latency as a fraction of the dense network's, measured in turns with it
    predicted_latency_ms: float | None  # by the latency table of the budget; None: there is none
    device: str  # where latency was measured; empty: not measured
    dense_accuracy: Estimate
    one_shot_accuracy: Estimate
    recalibrated_accuracy: Estimate
    compensated_accuracy: Estimate | None  # compensated and recalibrated; None where the network was not compensated
    best_val_accuracy: Estimate  # of the best epoch
    quantised_accuracy: Estimate | None  # of this epoch's int8 ONNX file; None where the network was not quantised
    other_metrics: dict[str, Estimate]  # of this epoch: name -> value
    gap_to_uniform: Estimate | None  # of best_val_accuracy, above 0 if better; paired by seed, where budgets match
    gap_to_control: Estimate | None  # the same to the curriculum's control, where epochs and images match, too
    gap_to_standard: Estimate | None  # the same to training without a curriculum
    search_cost_seconds: float  # mean over seeds, of allocation, profile and every trial that a search evaluated
    search_cost_evaluations: float | None  # passes over all calibration samples, and trials evaluated
    search_cost_images: float | None  # images through the network; None: an older version did not count them
    trials: int  # over all seeds; for a search, all trials that it evaluated
    networks: int  # different ones among these trials
    layers: dict[str, float]  # layer -> density, mean over seeds
    trial_keys: list[str]  # the trial of each seed, in the order of the seeds
    differs: str  # settings that tell this row from rows that look alike, as "recalibrate=20"; empty if none do
    warnings: list[str]  # why the row may not be comparable
    test_accuracy: Estimate | None = None
    test_other_metrics: dict[str, Estimate] = Field({})


class HeldOut(Frozen):
    """When the test split was read for the trials of this comparison."""

    trials: int
    read_now: int  # trials whose test accuracy was read for this comparison; the others were read before
    first: str  # first reading: time in UTC, ISO 8601
    last: str  # last reading
    by: list[str]  # the comparisons that read it


class Comparison(Frozen):
    """The results of one or several studies."""

    study: str
    rows: list[ComparisonRow]
    headline: dict[str, Headline]  # by policy, and by the arm where there are several: "erk, scratch"
    versus: list[Versus]
    warnings: list[str]  # what the headline, the rows and the counts leave out
    margin: float | None  # of the metric, within which two policies count as equivalent
    pairs: list[Pair]  # every pair of policies of a cell; none without a margin
    held_out: HeldOut | None = None


def compare(folders: Sequence[StudyFolder], margin: float | None = None) -> Comparison:
    """Compare the policies of all finished trials in these study folders.

    margin: in points of accuracy, or in the unit of another metric; with it, every pair of policies of a cell is tested
    for equivalence. Raises ValueError where no trial has finished, for a margin that is not above 0 and at most 100,
    and for a margin of several metrics.
    """
    found = winners(folders)
    metrics = {winner.metric for by_seed in found.cells.values() for winner in by_seed.values()}
    fraction = None if margin is None else checked_margin(margin, metrics)
    if not found.cells:
        raise ValueError("a comparison must have finished trials, but there are none; run the study first")
    odd_settings = mismatches(found.cells, folders)
    budgets = expected_budgets(found.cells)
    gaps_by_cell = gaps(found.cells)
    cells = {cell: [by_seed[seed] for seed in sorted(by_seed)] for cell, by_seed in sorted(found.cells.items())}
    controls = {trials[0].control_setting for trials in cells.values()}
    rows = []
    for (cell, trials), accuracies in zip(cells.items(), _accuracies(list(cells.values())), strict=True):
        baseline = found.cells.get(cell._replace(policy=BASELINE), {})
        warnings = incomparable(trials, baseline, budgets[cell.setting, cell.sparsity], odd_settings.get(cell.setting))
        warnings += unfair(cell, found.cells[cell], found.cells)
        names = {cell.policy, trials[0].criterion, trials[0].recovery}
        control = cell.setting in controls or not CONTROLS.isdisjoint(names)
        layers = found.layers.mean([winner.table_row for winner in trials])
        differs = odd_settings.get(cell.setting, "")
        rows.append(_row(cell.policy, trials, control, accuracies, gaps_by_cell[cell], layers, differs, warnings))
    headline, versus = summarised({cell: own for cell, own in found.cells.items() if cell.setting not in odd_settings})
    return Comparison(
        study=" + ".join(f.folder.name for f in folders),
        rows=rows,
        headline=headline,
        versus=versus,
        warnings=[
            *left_out(headline, found.without_winner, odd_settings),
            *much_fixed_in((row.model, row.params_fixed, row.params_total) for row in rows),
        ],
        margin=fraction,
        pairs=[] if fraction is None else pairs_of(found.cells, fraction),
    )


def _accuracies(cells: Sequence[Sequence[Winner]]) -> list[Accuracies]:
    """Estimate the accuracies of all cells at once, which is faster than one by one."""
    columns = (
        Estimate.of_all([[getattr(trial, name) for trial in own] for own in cells]) for name in Accuracies._fields
    )
    return [Accuracies(*estimates) for estimates in zip(*columns, strict=True)]


def _row(
    policy: str,
    trials: Sequence[Winner],
    control: bool,
    accuracies: Accuracies,
    gaps: Gaps,
    layers: dict[str, float],
    differs: str,
    warnings: list[str],
) -> ComparisonRow:
    first = trials[0]
    params, macs = fmean([trial.params_kept for trial in trials]), fmean([trial.macs_kept for trial in trials])
    same: dict[str, Any] = {name: getattr(first, name) for name in SAME}
    means: dict[str, Any] = {name: _mean([getattr(trial, name) for trial in trials]) for name in MEANS}
    optional: dict[str, Any] = {name: _estimate([getattr(trial, name) for trial in trials]) for name in OPTIONAL}
    return ComparisonRow(
        policy=policy,
        **same,
        family=first.family or first.setting,
        control=control,
        seeds=[trial.seed for trial in trials],
        seeds_cover=_covered(trials),
        params_kept=round(params),
        params_density=params / first.params_total,
        macs_kept=round(macs),
        macs_density=macs / first.macs_total,
        **means,
        **accuracies._asdict(),
        **optional,
        other_metrics=of_each([trial.other_metrics for trial in trials]),
        **gaps._asdict(),
        search_cost_seconds=fmean([trial.cost_seconds for trial in trials]),
        search_cost_evaluations=_mean([trial.cost_evaluations for trial in trials]),
        search_cost_images=_mean([trial.cost_images for trial in trials]),
        trials=sum(trial.trials for trial in trials),
        networks=sum(trial.networks for trial in trials),
        layers=layers,
        trial_keys=[trial.trial for trial in trials],
        differs=differs,
        warnings=warnings,
    )


def _mean(numbers: Sequence[float | None]) -> float | None:
    """Average over seeds; None where a seed has no number."""
    known = [number for number in numbers if number is not None]
    return fmean(known) if len(known) == len(numbers) else None


def _estimate(accuracies: Sequence[float | None]) -> Estimate | None:
    """Estimate over seeds; None where a seed has no accuracy."""
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    return Estimate.of(known) if len(known) == len(accuracies) else None


def _covered(trials: Sequence[Winner]) -> list[str]:
    """List what each seed repeated. A dense network that is taken as it was built is the same for all seeds."""
    trained = ["dense training"] if trials[0].dense_epochs != 0 else []
    recovered = [RECOVERY] if any(trial.epochs > 1 for trial in trials) else []
    return [*trained, "pruning", *recovered]
