"""Optuna's samplers by name, seeded, with start-up phases that suit the budget of a search.

No sampler proposes a point twice. Each docstring says how running, pruned and failed trials count.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from optuna import Study, create_study, samplers
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from trainables.own_function import is_external
from trainables.plugins import load

STOPPED_AT = "stopped_at"  # Optuna's user attribute of a pruned trial of several goals: their values at the stop

Make = Callable[[int, int], BaseSampler]  # from a seed and the number of trials of the search


@dataclass(frozen=True)
class Sampler:
    """A sampler and the kinds of searches that it can do.

    constraints: whether the sampler learns from the constraints that `Trial.set_constraint` gives each complete trial.
    system_attrs: Optuna's private attributes, without which the sampler ignores a trial that it did not propose.
    """

    make: Make
    system_attrs: Mapping[str, int] = field(default_factory=dict)


def _quietly(make: Make) -> Make:
    @wraps(make)
    def quiet(seed: int, trials: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(seed, trials)

    return quiet


def random(seed: int, trials: int) -> BaseSampler:
    """Independent uniform draws: the control of every other sampler."""
    return samplers.RandomSampler(seed=seed)


@_quietly
def tpe(seed: int, trials: int) -> BaseSampler:
    """Tree-structured Parzen estimator over all parameters jointly.

    A running trial counts as bad, so that proposals spread. A pruned trial counts as worse than complete ones, and is
    ranked by its last accuracy if that is the only goal. A failed trial does not count (Bergstra et al., NeurIPS 2011).
    """
    return samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=_start_up(trials), seed=seed)


@_quietly
def cmaes(seed: int, trials: int) -> BaseSampler:
    """Covariance matrix adaptation, started in the middle of the space (Hansen, arXiv 1604.00772).

    A generation is a fifth of the budget, 4 to 12 trials. Of the proposals of one generation, only the first to end
    count, so that running more trials at once than a generation has does not help. A pruned trial counts with its last
    accuracy.
    """
    return samplers.CmaEsSampler(
        popsize=min(12, max(4, trials // 5)), consider_pruned_trials=True, warn_independent_sampling=False, seed=seed
    )


def gp(seed: int, trials: int) -> BaseSampler:
    """Gaussian process with expected improvement, averaged over possible results of running trials; for tens of trials.

    A pruned trial counts with its last accuracy; with several goals, with what they had reached. A failed trial counts
    as if it still ran.
    """
    return _GaussianProcess(n_startup_trials=_start_up(trials), seed=seed)


def qmc(seed: int, trials: int) -> BaseSampler:
    """Scrambled Sobol sequence, which covers the space more evenly than random draws (Bergstra & Bengio, JMLR 2012)."""
    return _Sobol(seed)


@_quietly
def nsga2(seed: int, trials: int) -> BaseSampler:
    """Genetic search for a Pareto front: NSGA-II with simulated binary crossover (Deb et al., IEEE TEVC 6(2), 2002).

    A generation is a quarter of the budget, 4 to 50 trials. Failed and pruned trials do not count.
    """
    return samplers.NSGAIISampler(population_size=_population(trials), crossover=_sbx(), crossover_prob=1.0, seed=seed)


@_quietly
def nsga3(seed: int, trials: int) -> BaseSampler:
    """As nsga2, but spread along reference directions, for more than two goals (Deb & Jain, IEEE TEVC 18(4), 2014)."""
    return samplers.NSGAIIISampler(population_size=_population(trials), crossover=_sbx(), crossover_prob=1.0, seed=seed)


def _start_up(trials: int) -> int:
    """Number of random trials before a model is fitted: a quarter of the budget, 2 to 10 (10 is Optuna's default)."""
    return min(10, max(2, trials // 4))


def _population(trials: int) -> int:
    return min(50, max(4, trials // 4))


def _sbx() -> samplers.nsgaii.SBXCrossover:
    """Crossover in which every value is new: Optuna's default copies values, and sometimes a whole parent."""
    return samplers.nsgaii.SBXCrossover(use_child_gene_prob=1.0)


class _Sobol(BaseSampler):
    """Optuna's Sobol sequence, which a later process continues: the seed of the first one is kept in the study."""

    _ATTRIBUTE = "qmc_seed"  # of the study

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sequence: samplers.QMCSampler | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sequence_of(study).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sequence_of(study).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sequence_of(study).sample_independent(study, trial, param_name, param_distribution)

    def _sequence_of(self, study: Study) -> samplers.QMCSampler:
        if self._sequence is None:
            if self._ATTRIBUTE not in study.user_attrs:
                study.set_user_attr(self._ATTRIBUTE, self._seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._sequence = samplers.QMCSampler(
                    scramble=True,
                    warn_independent_sampling=False,
                    seed=study.user_attrs[self._ATTRIBUTE],
                    independent_sampler=samplers.RandomSampler(seed=self._seed),
                )
        return self._sequence


class _GaussianProcess(samplers.GPSampler):
    """Optuna's Gaussian process that also knows pruned and failed trials, and never proposes a point twice.

    Optuna's own ignores such trials and proposes their points again. This one is shown a copy of the study, where a
    pruned trial is complete with its last accuracy, and a failed trial still runs.
    """

    def __init__(self, n_startup_trials: int, seed: int) -> None:
        super().__init__(n_startup_trials=n_startup_trials, warn_independent_sampling=False, seed=seed)
        self._fewest = n_startup_trials

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(complete) < self._fewest:
            return {}
        copy = create_study(directions=study.directions)
        copy.add_trials(complete)
        unvalued = []
        for other in study.get_trials(deepcopy=False, states=(TrialState.PRUNED, TrialState.FAIL)):
            if _has_value(other, complete[0]):
                copy.add_trial(_completed(other))
            elif search_space.keys() <= other.params.keys():
                unvalued.append(other)
        copy.add_trials(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        copy.add_trials(map(_reopened, unvalued))
        copy.add_trial(create_trial(state=TrialState.RUNNING))  # the one that gets the proposal
        *known, proposed = copy.get_trials(deepcopy=False)
        params = super().sample_relative(copy, proposed, search_space)
        repeats = any(params.items() <= other.params.items() for other in known)
        return {} if repeats else params  # Optuna draws what is missing at random


def _has_value(trial: FrozenTrial, complete: FrozenTrial) -> bool:
    """Tell whether a trial that did not complete has its values, and the constraints that a complete one has."""
    pruned = trial.state == TrialState.PRUNED and bool(_last_values(trial))
    return pruned and trial.constraints.keys() == complete.constraints.keys()


def _last_values(trial: FrozenTrial) -> list[float]:
    """Return a pruned trial's last accuracy, or its values of several goals; empty where it has none."""
    last = [] if trial.last_step is None else [trial.intermediate_values[trial.last_step]]
    values: list[float] = trial.user_attrs.get(STOPPED_AT, last)
    return values


def _completed(trial: FrozenTrial) -> FrozenTrial:
    """Copy a pruned trial as a complete one of its last values."""
    return create_trial(
        values=_last_values(trial),
        params=trial.params,
        distributions=trial.distributions,
        constraints=trial.constraints,
    )


def _reopened(trial: FrozenTrial) -> FrozenTrial:
    """Copy an ended trial as a running one."""
    return create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)


SAMPLERS: Mapping[str, Sampler] = {
    "random": Sampler(random),
    "tpe": Sampler(tpe),
    "cmaes": Sampler(cmaes, system_attrs={"cma:generation": 0}),
    "gp": Sampler(gp),
    "qmc": Sampler(qmc),
    "nsga2": Sampler(nsga2, system_attrs={"NSGAIISampler:generation": 0}),
    "nsga3": Sampler(nsga3, system_attrs={"NSGAIIISampler:generation": 0}),
}


def sampler(name: str) -> Sampler:
    """Look up a sampler by its name, or take a function of the user's own. Raises ValueError as `plugins.load`."""
    return Sampler(load("sampler", name)) if is_external(name) else SAMPLERS[name]
