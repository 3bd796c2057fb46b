"""Which parts' densities decided the accuracy among the trials of a study's searches."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import fmean

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from search.comparison.estimates import Estimate
from search.comparison.rank_correlation import bounded, rank_correlation
from search.comparison.search_trials import SearchTrials, TrialsBySeed, trials_of_searches
from search.results.folder import StudyFolder
from search.results.names import network_name
from search.results.rows import TrialRow
from search.results.scale import rank
from search.study.search_spec import CAPACITY
from trainables.counts import noun
from trainables.frozen import Frozen
from trainables.lookup import pick

FEWEST = 10  # finished trials that a search must have
TARGET = 1 / 3  # share of a search's trials that count as its best


class PartImportance(Frozen):
    """How much the density of one part decided the accuracy."""

    part: str
    importance: Estimate  # as a share of all parts' importance, in [0, 1], over seeds
    capacity: float | None  # fraction of its units that the policy "capacity" keeps, mean over the same seeds


class Importance(SearchTrials):
    """Importances of all parts in the searches of one network at one sparsity.

    An importance says how much a part's density decided the accuracy among these trials, not how much of the part is
    needed. The budget ties densities to each other: every trial spends the same.
    """

    agreement: Estimate | None  # Spearman's correlation over parts of importances and the densities of "capacity"
    parts: list[PartImportance]  # from input to output


class Importances(Frozen):
    """Importances in all searches of a study."""

    study: str
    evaluator: str
    rows: list[Importance]
    left_out: list[str]  # searches without importances, and why


def importances(folder: StudyFolder, evaluator: str = "ped-anova") -> Importances:
    """Estimate importances in the searches of a study.

    evaluator: a key of `EVALUATORS`. Raises ValueError where no search has enough trials.
    """
    pick("evaluator", evaluator, EVALUATORS)
    rows, left_out = importances_of(folder.rows(), folder.study.search.warm_start, evaluator)
    if not rows:
        why = left_out or ["no search has finished a trial; add 'searched' to the policies and run the study"]
        needed = f"importance must have a search of {FEWEST} finished trials whose accuracies differ, but there is none"
        raise ValueError("\n".join([needed, *why]))
    return Importances(study=folder.folder.name, evaluator=evaluator, rows=rows, left_out=left_out)


def importances_of(
    trials: Sequence[TrialRow], starts: Collection[str], evaluator: str = "ped-anova"
) -> tuple[list[Importance], list[str]]:
    """Estimate importances in the searches among these trials; list the searches that are left out, and why.

    starts: policies that searches start from.
    """
    capacity = {trial.cell: trial.parts for trial in trials if trial.policy == CAPACITY and trial.status == "done"}
    rows, left_out = [], []
    for by_seed in trials_of_searches(trials, starts):
        reasons = {seed: _unusable(own) for seed, own in by_seed.items()}
        if usable := {seed: own for seed, own in by_seed.items() if not reasons[seed]}:
            rows.append(_importance(usable, capacity, evaluator))
        left_out += _left_out(by_seed, reasons)
    return rows, left_out


def _unusable(trials: Sequence[TrialRow]) -> str:
    if len(trials) < FEWEST:
        return f"fewer than {FEWEST} finished trials; raise search.trials"
    return (
        f"finished trials of one and the same {trials[0].metric}"
        if len({trial.best_val_accuracy for trial in trials}) == 1
        else ""
    )


def _left_out(by_seed: TrialsBySeed, reasons: Mapping[int, str]) -> list[str]:
    """Say which searches are left out, one line for each reason."""
    first = next(iter(by_seed.values()))[0]
    seeds: dict[str, list[str]] = defaultdict(list)
    for seed, reason in reasons.items():
        seeds[reason].append(str(seed))
    target = f"{network_name(first)} at sparsity {first.sparsity:g}"
    return [f"{target}, {noun(len(own), 'seed')} {', '.join(own)}: {why}" for why, own in seeds.items() if why]


def _importance(by_seed: TrialsBySeed, capacity: Mapping[str, Mapping[str, float]], evaluator: str) -> Importance:
    shares = [part_importances(own, evaluator) for own in by_seed.values()]
    densities = [capacity.get(own[0].cell) for own in by_seed.values()]
    known = [density for density in densities if density]
    correlations = [
        rank_correlation(list(share.values()), [density[part] for part in share])
        for share, density in zip(shares, densities, strict=True)
        if density
    ]
    defined = [value for value in correlations if value is not None]
    parts = [
        PartImportance(
            part=part,
            importance=bounded([share[part] for share in shares], 0),
            capacity=fmean(density[part] for density in known) if known else None,
        )
        for part in shares[0]
    ]
    agreement = bounded(defined, -1) if defined else None
    return Importance(**dict(SearchTrials.of(by_seed)), agreement=agreement, parts=parts)


def part_importances(trials: Sequence[TrialRow], evaluator: str) -> dict[str, float]:
    """Estimate the importance of each part in one search: part -> share of all, in [0, 1], parts in their order.

    Evaluators see the logarithm of each density, scaled to [0, 1] over the trials. A density that never varies has
    importance 0.
    """
    parts = list(trials[0].parts)
    logs = np.log([[trial.parts[part] for part in parts] for trial in trials])  # (trials, parts)
    spans = np.ptp(logs, axis=0)
    scaled = (logs - logs.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    scale: BaseDistribution = FloatDistribution(0.0, 1.0)  # one object for all, because Optuna copies each it meets
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for trial, row in zip(trials, scaled.tolist(), strict=True):
        params = {part: value for part, value, span in zip(parts, row, spans, strict=True) if span > 0}
        distributions = dict.fromkeys(params, scale)
        study.add_trial(create_trial(params=params, distributions=distributions, value=rank(trial)))
    shares = EVALUATORS[evaluator](study)
    return {part: float(shares.get(part, 0.0)) for part in parts}


def ped_anova(study: optuna.Study) -> dict[str, float]:
    """Measure how much a density sets the best third of the trials apart from all (PED-ANOVA, arXiv 2304.10255).

    The third is ours. In 30 simulated searches of 40 noisy trials over 20 parts, one part mattered: the third ranked it
    first in 28 searches, Optuna's tenth in 13. A trial that is no better than the worst one is never among the best.
    In other simulations the influence of 20 parts fell evenly from 0.02 to 0.001, with noise of 0.01: the estimated
    order correlated with the true one at 0.3, 0.6 and 0.8 with 40, 100 and 400 trials. A short search shows only the
    parts that stand out.
    """
    values = [trial.value or 0.0 for trial in study.get_trials(deepcopy=False)]
    worst = min(values)
    best = min(math.ceil(TARGET * len(values)), sum(value > worst for value in values))
    quantile = (best - 0.5) / len(values)
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=quantile))


def fanova(study: optuna.Study) -> dict[str, float]:
    """Measure the share of a random forest's variance that a density explains alone (Hutter et al., ICML 2014)."""
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


EVALUATORS: dict[str, Callable[[optuna.Study], dict[str, float]]] = {"ped-anova": ped_anova, "fanova": fanova}
