"""Every sampler does what its entry in the table says, by Optuna's ask and tell on small problems."""

from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from search.methods.names import SAMPLER_ABILITIES
from search.methods.names import sampler_complaints as complaints
from search.methods.samplers import SAMPLERS, STOPPED_AT

SPACE: dict[str, BaseDistribution] = {name: FloatDistribution(0.01, 1.0, log=True) for name in ("a", "b", "c")}
LEARNING = sorted(set(SAMPLERS) - {"random", "qmc"})
TRIALS = 16  # the budget of the samplers, which gives populations and start-ups of 4

optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_of(name: str, seed: int = 0, goals: int = 1) -> optuna.Study:
    return optuna.create_study(directions=["maximize"] * goals, sampler=SAMPLERS[name].make(seed, TRIALS))


def value(params: Mapping[str, float]) -> float:
    """A smooth function, highest where the logarithm of every parameter is -0.5."""
    return -float(sum((np.log10(params[name]) + 0.5) ** 2 for name in SPACE))


def run(study: optuna.Study, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask(SPACE)
        study.tell(trial, value(trial.params))


def points(study: optuna.Study) -> NDArray[np.float64]:
    """Return the logarithms of the proposals: (trials, parameters), in [-2, 0]."""
    return np.log10([[trial.params[name] for name in SPACE] for trial in study.trials])


def least_distance(points: NDArray[np.float64]) -> float:
    """Return the distance of the two nearest points."""
    distances = np.abs(points[:, None] - points[None]).max(axis=-1)
    return float(distances[~np.eye(len(points), dtype=bool)].min())


def tell(study: optuna.Study, name: str, trials: int, bounded: bool = False) -> None:
    """Tell a study the trials of another search, spread evenly. bounded: values above 0.1 break a constraint."""
    for params in 10 ** (2 * np.random.default_rng(0).random((trials, len(SPACE))) - 2):
        densities = dict(zip(SPACE, params.tolist(), strict=True))
        study.add_trial(
            create_trial(
                params=densities,
                distributions=SPACE,
                value=value(densities),
                constraints={"a": np.log10(densities["a"]) + 1} if bounded else None,
                system_attrs=dict(SAMPLERS[name].system_attrs),
            )
        )


def proposals(study: optuna.Study, trials: int) -> NDArray[np.float64]:
    """Return the logarithms of the next proposals, all asked for at once: (trials, parameters)."""
    return np.log10([list(study.ask(SPACE).params.values()) for _ in range(trials)])


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_gives_the_same_proposals_again_and_another_seed_others(name: str) -> None:
    first, again, other = (study_of(name, seed) for seed in (0, 0, 1))
    for study in (first, again, other):
        run(study, 6)
    assert np.array_equal(points(first), points(again))
    assert not (points(first) == points(other)).all(axis=1).any()  # single values may be equal, for example at a bound


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_point_is_proposed_twice_whether_trials_run_fail_or_are_pruned(name: str) -> None:
    study = study_of(name)
    together = [study.ask(SPACE) for _ in range(6)]
    for trial in together:
        study.tell(trial, value(trial.params))
    for _ in range(2):
        study.tell(study.ask(SPACE), state=TrialState.FAIL)
        pruned = study.ask(SPACE)
        pruned.report(-9.0, 1)
        study.tell(pruned, state=TrialState.PRUNED)
    for _ in range(4):
        study.ask(SPACE)
    assert least_distance(points(study)) > 0.02


def test_running_trials_spread_what_the_parzen_estimator_proposes() -> None:
    def spread(running: bool) -> float:
        found = []
        for seed in range(8):
            study = study_of("tpe", seed)
            tell(study, "tpe", 30)
            for _ in range(8):
                trial = study.ask(SPACE)
                if not running:
                    study.tell(trial, state=TrialState.FAIL)
            found.append(points(study)[30:].std(axis=0).mean())
        return float(np.mean(found))

    assert spread(running=True) > 1.1 * spread(running=False)


def test_where_the_best_is_a_corner_the_gaussian_process_looks_elsewhere_next() -> None:
    study = study_of("gp")
    for _ in range(10):
        trial = study.ask(SPACE)
        study.tell(trial, sum(np.log10(density) for density in trial.params.values()))
    assert points(study).max(axis=0).tolist() == [0, 0, 0]
    assert least_distance(points(study)) > 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_that_goes_on_with_another_seed_repeats_nothing(name: str) -> None:
    study = study_of(name)
    run(study, 6)
    for seed in (6, 8):
        study.sampler = SAMPLERS[name].make(seed, TRIALS)
        run(study, 2)
    assert least_distance(points(study)) > 0


def test_the_sequence_of_a_search_that_goes_on_is_that_of_one_never_broken_off() -> None:
    whole, broken = study_of("qmc"), study_of("qmc")
    run(whole, 8)
    run(broken, 4)
    broken.sampler = SAMPLERS["qmc"].make(4, TRIALS)
    run(broken, 4)
    assert np.array_equal(points(whole), points(broken))


@pytest.mark.parametrize("name", LEARNING)
def test_trials_told_from_elsewhere_teach(name: str) -> None:
    study = study_of(name)
    tell(study, name, 12)
    assert proposals(study, 6).mean() > -0.85  # -1 without learning


@pytest.mark.parametrize("name", [name for name, able in SAMPLER_ABILITIES.items() if able.constraints])
def test_constraints_draw_proposals_to_where_they_are_kept(name: str) -> None:
    free, bounded = study_of(name), study_of(name)
    tell(free, name, 20)
    tell(bounded, name, 20, bounded=True)
    wild, tame = proposals(free, 4)[:, 0], proposals(bounded, 4)[:, 0]
    assert (tame < -1).sum() > (wild < -1).sum()
    assert tame.mean() < wild.mean() - 0.3


@pytest.mark.parametrize("name", [name for name, able in SAMPLER_ABILITIES.items() if able.several_goals])
def test_several_goals_over_densities_and_sparsities(name: str) -> None:
    study = study_of(name, goals=2)
    space = SPACE | {"sparsity": CategoricalDistribution([0.5, 0.8])}
    for trial in [study.ask(space) for _ in range(5)]:
        study.tell(trial, (value(trial.params), trial.params["sparsity"]))
    study.tell(study.ask(space), state=TrialState.FAIL)
    for _ in range(6):
        stopped = study.ask(space)
        stopped.set_user_attr(STOPPED_AT, [value(stopped.params) - 1, stopped.params["sparsity"]])
        study.tell(stopped, state=TrialState.PRUNED)
    study.ask(space), study.ask(space)
    assert {trial.params["sparsity"] for trial in study.trials} == {0.5, 0.8}
    assert least_distance(points(study)) > 0


def test_stopped_trials_of_several_goals_teach_the_gaussian_process_what_they_reached() -> None:
    def next_ones(stopped_at: bool) -> NDArray[np.float64]:
        study = study_of("gp", goals=2)
        random = np.random.default_rng(0)
        for n, params in enumerate(10 ** (2 * random.random((24, len(SPACE))) - 2)):
            densities = dict(zip(SPACE, params.tolist(), strict=True))
            values = [value(densities), value(densities)]
            kept = {"values": values} if n < 4 else {"state": TrialState.PRUNED}
            notes = {STOPPED_AT: values} if stopped_at and n >= 4 else {}
            study.add_trial(create_trial(params=densities, distributions=SPACE, user_attrs=notes, **kept))
        return proposals(study, 4)

    def distance(points: NDArray[np.float64]) -> float:
        return float(np.abs(points + 0.5).mean())  # from where both goals are highest

    assert distance(next_ones(stopped_at=True)) < 0.5 * distance(next_ones(stopped_at=False))


def test_a_sampler_of_one_goal_refuses_several() -> None:
    for name in SAMPLERS:
        if SAMPLER_ABILITIES[name].several_goals is False:
            with pytest.raises(ValueError, match="multi-objective"):
                study_of(name, goals=2).ask(SPACE)


def test_complaints_name_the_samplers_that_can() -> None:
    assert not any(complaints(name, 1, False) for name in SAMPLERS)
    assert complaints("cmaes", 2, True) == [
        "search.sampler must take several goals, but 'cmaes' takes one; use one of: tpe, gp, nsga2, nsga3",
        "search.sampler must learn from constraints, but 'cmaes' does not; use one of: tpe, gp, nsga2, nsga3",
    ]
    assert complaints("qmc", 2, False) == complaints("nsga3", 3, True) == []
    assert complaints("tp", 1, False) == ["sampler must be a known name, but got 'tp'; did you mean 'tpe' or 'gp'?"]
