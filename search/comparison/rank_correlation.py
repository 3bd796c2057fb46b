"""How well each accuracy before fine-tuning ranks a search's trials by their final accuracy."""

from collections.abc import Collection, Iterable, Sequence
from itertools import product

from scipy.stats import spearmanr

from search.comparison.estimates import Estimate
from search.comparison.search_trials import SearchTrials, TrialsBySeed, trials_of_searches
from search.results.rows import TrialRow

FEWEST = 3  # trials that a rank correlation is computed of
FIRST = ("recalibrated_accuracy", "compensated_accuracy")  # accuracies before fine-tuning, in the order of the trial


class Ranking(SearchTrials):
    """Spearman's correlation of a first and the final accuracy among a search's fine-tuned trials, over seeds.

    A seed is left out where either accuracy is the same in all of its trials. Of a search with a scheduler, only the
    trials that it let finish are ranked: these began well, and the correlation among them tends to be lower.
    """

    first: str  # one of `FIRST`
    correlation: Estimate


def rankings(trials: Iterable[TrialRow], starts: Collection[str]) -> list[Ranking]:
    """Correlate each first accuracy that all trials of a search have with their final accuracy.

    trials, starts: as for `trials_of_searches`.
    """
    found = []
    for by_seed, first in product(fine_tuned(trials, starts), FIRST):
        if any(getattr(trial, first) is None for own in by_seed.values() for trial in own):
            continue
        correlations = {seed: rank_correlation(*accuracies(own, first)) for seed, own in by_seed.items()}
        defined = {seed: value for seed, value in correlations.items() if value is not None}
        if defined:
            searches = SearchTrials.of({seed: by_seed[seed] for seed in defined})
            found.append(Ranking(**dict(searches), first=first, correlation=bounded(list(defined.values()), -1)))
    return found


def fine_tuned(trials: Iterable[TrialRow], starts: Collection[str]) -> list[TrialsBySeed]:
    """Find the finished trials of searches that trained after epoch 0."""
    return trials_of_searches((trial for trial in trials if trial.epochs > 1), starts)


def accuracies(trials: Sequence[TrialRow], first: str) -> tuple[list[float], list[float]]:
    """List each trial's first accuracy, one of `FIRST`, and its final one, of the best epoch."""
    return [getattr(trial, first) for trial in trials], [trial.best_val_accuracy or 0.0 for trial in trials]


def bounded(values: Sequence[float], least: float) -> Estimate:
    """Estimate the mean of values between `least` and 1; the interval is cut there."""
    estimate = Estimate.of(values)
    if estimate.low is None or estimate.high is None:
        return estimate
    return estimate.model_copy(update={"low": max(least, estimate.low), "high": min(1.0, estimate.high)})


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Compute Spearman's correlation, ties at their mean rank; None for fewer than 3 values or where all are equal."""
    if len(one) < FEWEST or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)
