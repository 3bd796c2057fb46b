"""Optuna's samplers by name, seeded, with start-ups that suit the budget of a search.

None proposes a point twice; each makes of trials that run, or ended without a value, what its docstring says.
"""

import copy
import warnings
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from optuna import Study, samplers
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma_multiobjective
from optuna.trial import FrozenTrial, TrialState

from trainables.lookup import did_you_mean

REMEMBERED = 500  # ended trials that a Parzen estimator is made of
Make = Callable[[int, int], BaseSampler]  # seed, and trials of the search in all


@dataclass(frozen=True)
class Sampler:
    """How proposals are made, and for what kind of search.

    Constraints are what `Trial.set_constraint` says of each completed trial. `told` are the system attributes by which
    the sampler learns from a trial that it did not propose.
    """

    make: Make
    several_goals: bool = True
    constraints: bool = False
    told: Mapping[str, int] = field(default_factory=dict)


def _quietly(make: Make) -> Make:
    @wraps(make)
    def made(seed: int, trials: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return make(seed, trials)

    return made


def random(seed: int, trials: int) -> BaseSampler:
    """Independent draws: the control for any other sampler."""
    return samplers.RandomSampler(seed=seed)


@_quietly
def tpe(seed: int, trials: int) -> BaseSampler:
    """Tree-structured Parzen estimator over all parameters jointly.

    A running trial counts as bad, to spread proposals, and so does a pruned one, by its last accuracy; a failed one is
    forgotten (Bergstra et al., NeurIPS 2011), and so are the oldest bad ones of more than `REMEMBERED`.
    """
    return _ParzenOfBoundedMemory(multivariate=True, constant_liar=True, n_startup_trials=_start_up(trials), seed=seed)


@_quietly
def cmaes(seed: int, trials: int) -> BaseSampler:
    """Covariance matrix adaptation from the middle of the space on (Hansen, arXiv 1604.00772).

    A pruned trial counts with its last accuracy. Of what is proposed in one generation, the first to end count: more
    trials at once than a generation holds, a fifth of the budget up to 12, teach it no more.
    """
    return samplers.CmaEsSampler(
        popsize=min(12, max(4, trials // 5)), consider_pruned_trials=True, warn_independent_sampling=False, seed=seed
    )


def gp(seed: int, trials: int) -> BaseSampler:
    """Gaussian process with expected improvement, averaged over what running trials may bring; for tens of trials.

    A pruned trial counts with its last accuracy, a failed one as still running.
    """
    return _GaussianProcess(n_startup_trials=_start_up(trials), warn_independent_sampling=False, seed=seed)


@_quietly
def qmc(seed: int, trials: int) -> BaseSampler:
    """Scrambled Sobol sequence, which covers the space more evenly than random draws (Bergstra & Bengio, JMLR 2012)."""
    return _Sobol(scramble=True, warn_independent_sampling=False, seed=seed)


@_quietly
def nsga2(seed: int, trials: int) -> BaseSampler:
    """Genetic search for a front: NSGA-II with simulated binary crossover (Deb et al., IEEE TEVC 6(2), 2002).

    A generation is a quarter of the budget, 4 to 50 trials; trials that fail or are pruned are forgotten.
    """
    return samplers.NSGAIISampler(population_size=_population(trials), crossover=_sbx(), crossover_prob=1.0, seed=seed)


@_quietly
def nsga3(seed: int, trials: int) -> BaseSampler:
    """As nsga2, but spread along reference directions, for more than two goals (Deb & Jain, IEEE TEVC 18(4), 2014)."""
    return samplers.NSGAIIISampler(population_size=_population(trials), crossover=_sbx(), crossover_prob=1.0, seed=seed)


def _start_up(trials: int) -> int:
    """Random trials before a model is fitted: a quarter of the budget, but no more than Optuna's own 10."""
    return min(10, max(2, trials // 4))


def _population(trials: int) -> int:
    return min(50, max(4, trials // 4))


def _sbx() -> samplers.nsgaii.SBXCrossover:
    """Every value is new: Optuna's default crossover copies its parents', and so now and then a whole parent."""
    return samplers.nsgaii.SBXCrossover(use_child_gene_prob=1.0)


class _ParzenOfBoundedMemory(samplers.TPESampler):
    """Models the good trials and the newest others: the ten-thousandth proposal takes no longer than the thousandth.

    What is forgotten has the least weight in Optuna's own model, which falls linearly with age (its `default_weights`).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._seen = 0  # trials, of the study
        self._open: set[int] = set()  # numbers of those that had not ended
        self._remembered: list[FrozenTrial] = []  # of those that had

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._view(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._view(study, trial), trial, search_space)

    def _view(self, study: Study, trial: FrozenTrial) -> Study:
        """Show the study with few of its trials; trial: its newest."""
        self._open.update(range(self._seen, trial.number + 1))
        self._seen = trial.number + 1
        ids = (study._storage.get_trial_id_from_study_id_trial_number(study._study_id, n) for n in self._open)
        looked_at = [study._storage.get_trial(trial_id) for trial_id in ids]
        running = [trial for trial in looked_at if not trial.state.is_finished()]
        self._open = {trial.number for trial in running}
        self._remembered += [trial for trial in looked_at if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        if len(self._remembered) > REMEMBERED:
            self._remembered.sort(key=lambda trial: trial.number)
            good, others = _split_trials(study, self._remembered, default_gamma_multiobjective(REMEMBERED))
            self._remembered = good + others[len(good) - REMEMBERED :]
        shown = sorted(self._remembered + running, key=lambda trial: trial.number)

        def shown_in(
            deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
        ) -> list[FrozenTrial]:
            return [trial for trial in shown if states is None or trial.state in states]

        view = copy.copy(study)
        view._get_trials = shown_in  # type: ignore[method-assign]
        return view


class _Sobol(samplers.QMCSampler):
    """Goes on with the sequence that the study began, whatever the seed of the process that goes on."""

    _ATTRIBUTE = "qmc_seed"  # of the study

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if self._ATTRIBUTE not in study.user_attrs:
            study.set_user_attr(self._ATTRIBUTE, self._seed)
        self._seed = study.user_attrs[self._ATTRIBUTE]
        super().before_trial(study, trial)


class _GaussianProcess(samplers.GPSampler):
    """Looks at pruned and failed trials, which Optuna's own proposes again and again, and repeats no point."""

    def _sample_relative_impl(
        self,
        study: Study,
        completed_trials: list[FrozenTrial],
        running_trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        known, open_ended = list(completed_trials), list(running_trials)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED, TrialState.FAIL)):
            pruned = trial.state == TrialState.PRUNED and trial.intermediate_values
            if pruned and trial.constraints.keys() == completed_trials[0].constraints.keys():
                known.append(_with_last_value(trial))
            elif search_space.keys() <= trial.params.keys():
                open_ended.append(trial)
        params = super()._sample_relative_impl(study, known, open_ended, search_space)
        repeats = any(params.items() <= trial.params.items() for trial in (*known, *open_ended))
        return {} if repeats else params  # without, it is drawn at random


def _with_last_value(trial: FrozenTrial) -> FrozenTrial:
    assert trial.last_step is not None
    valued = copy.copy(trial)
    valued.value = trial.intermediate_values[trial.last_step]
    return valued


SAMPLERS: Mapping[str, Sampler] = {
    "random": Sampler(random),
    "tpe": Sampler(tpe, constraints=True),
    "cmaes": Sampler(cmaes, several_goals=False, told={"cma:generation": 0}),
    "gp": Sampler(gp, constraints=True),
    "qmc": Sampler(qmc),
    "nsga2": Sampler(nsga2, constraints=True, told={"NSGAIISampler:generation": 0}),
    "nsga3": Sampler(nsga3, constraints=True, told={"NSGAIIISampler:generation": 0}),
}


def complaints(name: str, goals: int, constrained: bool) -> list[str]:
    """Say what a sampler cannot do of what is asked, and which ones do all of it."""
    if name not in SAMPLERS:
        return [str(did_you_mean("sampler", name, SAMPLERS))]
    sampler, wrong = SAMPLERS[name], []
    if goals > 1 and not sampler.several_goals:
        wrong.append(f"take several goals, but {name!r} takes one")
    if constrained and not sampler.constraints:
        wrong.append(f"learn from constraints, but {name!r} does not")
    fit = [n for n, s in SAMPLERS.items() if (goals == 1 or s.several_goals) and (s.constraints or not constrained)]
    return [f"search.sampler must {rule}; use one of: {', '.join(fit)}" for rule in wrong]
