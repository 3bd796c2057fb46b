"""How well the accuracy before any fine-tuning ranks a search's trials by what they reach in the end."""

from collections.abc import Collection, Iterable, Sequence

from scipy.stats import spearmanr

from search.comparison.estimates import Estimate
from search.comparison.search_trials import BySeed, SearchTrials, trials_of_searches
from search.results.rows import TrialRow

FEWEST = 3  # values with a rank correlation worth the name


class Ranking(SearchTrials):
    """Spearman's correlation of first and final accuracy among the fine-tuned trials of each search, over seeds.

    A seed is left out where either accuracy is the same in all of its trials. Of a search with a scheduler only the
    trials that it let finish are ranked: those that began well, among which the correlation tends to be lower.
    """

    correlation: Estimate


def rankings(trials: Iterable[TrialRow], starts: Collection[str]) -> list[Ranking]:
    """Correlate first and final accuracy of each search's trials.

    trials, starts: as for `searches`.
    """
    found = []
    for by_seed in fine_tuned(trials, starts):
        told = {seed: rank_correlation(*accuracies(own)) for seed, own in by_seed.items()}
        known = {seed: value for seed, value in told.items() if value is not None}
        if known:
            ranked = {seed: by_seed[seed] for seed in known}
            found.append(Ranking.told(ranked, correlation=bounded(list(known.values()), -1)))
    return found


def fine_tuned(trials: Iterable[TrialRow], starts: Collection[str]) -> list[BySeed]:
    """Find the finished trials of searches that went on after epoch 0."""
    return trials_of_searches((trial for trial in trials if trial.epochs > 1), starts)


def accuracies(trials: Sequence[TrialRow]) -> tuple[list[float], list[float]]:
    """Tell each trial's first accuracy, pruned and recalibrated if it was, and its final one, of the best epoch."""
    return [trial.recalibrated_accuracy or 0.0 for trial in trials], [
        trial.best_val_accuracy or 0.0 for trial in trials
    ]


def bounded(values: Sequence[float], least: float) -> Estimate:
    """Estimate the mean of what lies between `least` and 1; its interval ends there, which no mean can be beyond."""
    found = Estimate.of(values)
    if found.low is None or found.high is None:
        return found
    return found.model_copy(update={"low": max(least, found.low), "high": min(1.0, found.high)})


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Compute Spearman's correlation, ties at their mean rank; None of fewer than 3 values, or where all are alike."""
    if len(one) < FEWEST or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)
