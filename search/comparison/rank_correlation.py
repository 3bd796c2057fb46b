"""How well the accuracy before fine-tuning ranks a search's trials by their final accuracy."""

from collections.abc import Collection, Iterable, Sequence

from scipy.stats import spearmanr

from search.comparison.estimates import Estimate
from search.comparison.search_trials import SearchTrials, TrialsBySeed, trials_of_searches
from search.results.rows import TrialRow

FEWEST = 3  # trials that a rank correlation is computed of


class Ranking(SearchTrials):
    """Spearman's correlation of first and final accuracy among the fine-tuned trials of each search, over seeds.

    A seed is left out where either accuracy is the same in all of its trials. Of a search with a scheduler, only the
    trials that it let finish are ranked: these began well, and the correlation among them tends to be lower.
    """

    correlation: Estimate


def rankings(trials: Iterable[TrialRow], starts: Collection[str]) -> list[Ranking]:
    """Correlate first and final accuracy of each search's trials.

    trials, starts: as for `trials_of_searches`.
    """
    found = []
    for by_seed in fine_tuned(trials, starts):
        correlations = {seed: rank_correlation(*accuracies(own)) for seed, own in by_seed.items()}
        defined = {seed: value for seed, value in correlations.items() if value is not None}
        if defined:
            searches = SearchTrials.of({seed: by_seed[seed] for seed in defined})
            found.append(Ranking(**dict(searches), correlation=bounded(list(defined.values()), -1)))
    return found


def fine_tuned(trials: Iterable[TrialRow], starts: Collection[str]) -> list[TrialsBySeed]:
    """Find the finished trials of searches that trained after epoch 0."""
    return trials_of_searches((trial for trial in trials if trial.epochs > 1), starts)


def accuracies(trials: Sequence[TrialRow]) -> tuple[list[float], list[float]]:
    """List each trial's accuracy before fine-tuning, and its final one, of the best epoch."""
    first = [trial.compensated_accuracy or trial.recalibrated_accuracy or 0.0 for trial in trials]
    return first, [trial.best_val_accuracy or 0.0 for trial in trials]


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
