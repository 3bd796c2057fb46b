"""Verifies the comparison of a study: means, intervals, seeds and budgets are derived again from the trials' rows."""

import math
from statistics import fmean

from scipy import stats

from search.comparison.compare import Comparison, ComparisonRow, compare
from search.comparison.estimates import BOOTSTRAPPED, Estimate
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.verification.pairs import problems_of_pairs
from trainables.names import SEARCHES

ESTIMATES = (
    "dense_accuracy",
    "one_shot_accuracy",
    "recalibrated_accuracy",
    "compensated_accuracy",
    "best_val_accuracy",
    "quantised_accuracy",
)
PRECISION = 1e-9
MARGIN = 0.3  # points, for the pairs of policies; no file holds them, as they depend on the margin that a reader gives


def disagreeing(folder: StudyFolder, rows: dict[str, TrialRow]) -> list[str]:
    """Name the rows of a study's comparison that do not follow from its trials."""
    if not any(row.best_val_accuracy is not None and row.status != "failed" for row in rows.values()):
        return []
    return problems_of(compare([folder], MARGIN), rows)


def problems_of(comparison: Comparison, rows: dict[str, TrialRow]) -> list[str]:
    """Name what does not follow from the trials: seeds, counts, means, Student's intervals, and pairs of policies."""
    of_rows = [
        f"comparison of {row.policy} at sparsity {row.sparsity:g}: {problem}"
        for row in comparison.rows
        for problem in _of_row(row, [rows[key] for key in row.trial_keys if key in rows])
    ]
    return of_rows or [f"comparison of {problem}" for problem in problems_of_pairs(comparison, rows)]


def _of_row(row: ComparisonRow, trials: list[TrialRow]) -> list[str]:
    if len(trials) < len(row.trial_keys):
        return ["it names trials that are not there"]
    problems = []
    if [trial.seed for trial in trials] != row.seeds or len({*row.seeds}) < len(row.seeds):
        problems.append(f"its seeds {row.seeds} are not those of its trials")
    searched = row.policy in SEARCHES  # the best trial of a search may be one that it started from
    if not searched and any((trial.policy, trial.sparsity) != (row.policy, row.sparsity) for trial in trials):
        problems.append("its trials have another policy or sparsity")
    for name in ("params_kept", "macs_kept"):
        kept = fmean(getattr(trial, name) or 0 for trial in trials)
        if abs(getattr(row, name) - kept) > 0.5:
            problems.append(f"{name} is {getattr(row, name):,}, but {kept:,.1f} is the mean of its trials")
    for name in ESTIMATES:
        if getattr(row, name) is None and all(getattr(trial, name) is None for trial in trials):
            continue
        problems += _of_estimate(name, getattr(row, name), [getattr(trial, name) for trial in trials])
    for name, estimate in row.other_metrics.items():
        problems += _of_estimate(name, estimate, [trial.other_metrics[name] for trial in trials])
    return problems


def _of_estimate(name: str, estimate: Estimate, values: list[float]) -> list[str]:
    """Compare a mean and its interval with SciPy's."""
    mean = fmean(values)
    if estimate.n != len(values) or not math.isclose(estimate.mean, mean, abs_tol=PRECISION):
        return [f"{name} is {estimate.mean} over {estimate.n} seeds, but {mean} over {len(values)}"]
    if not 1 < len(values) < BOOTSTRAPPED:
        return []
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error) if error else (mean, mean)
    ends = (math.nan if end is None else end for end in (estimate.low, estimate.high))
    if all(math.isclose(end, own, abs_tol=PRECISION) for end, own in zip(ends, (low, high), strict=True)):
        return []
    return [f"{name} has the interval {estimate.low} to {estimate.high}, but its trials give {low} to {high}"]
