"""The samplers, spaces and schedulers that a search can use, known without Optuna, Ray and torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.lookup import did_you_mean
from trainables.own_function import is_external
from trainables.plugins import call_complaints


@dataclass(frozen=True)
class Abilities:
    """What a sampler can do beyond one goal without constraints."""

    several_goals: bool = True
    constraints: bool = False


SAMPLER_ABILITIES: Mapping[str, Abilities] = {
    "random": Abilities(),
    "tpe": Abilities(constraints=True),
    "cmaes": Abilities(several_goals=False),
    "gp": Abilities(constraints=True),
    "qmc": Abilities(),
    "nsga2": Abilities(constraints=True),
    "nsga3": Abilities(constraints=True),
}
SPACES = ("layers", "stages", "blocks", "family")
SCHEDULERS = ("fifo", "asha", "median", "hyperband")


def sampler_complaints(name: str, goals: int, constrained: bool) -> list[str]:
    """Say what a sampler cannot do for a search, and which samplers can do all of it.

    A function of the user's own is only imported: `contract.check_sampler` calls it.
    """
    if is_external(name):
        return call_complaints("sampler", name)
    if name not in SAMPLER_ABILITIES:
        return [str(did_you_mean("sampler", name, SAMPLER_ABILITIES))]
    able, wrong = SAMPLER_ABILITIES[name], []
    if goals > 1 and not able.several_goals:
        wrong.append(f"take several goals, but {name!r} takes one")
    if constrained and not able.constraints:
        wrong.append(f"learn from constraints, but {name!r} does not")
    fit = [
        other
        for other, abilities in SAMPLER_ABILITIES.items()
        if (goals == 1 or abilities.several_goals) and (abilities.constraints or not constrained)
    ]
    return [f"search.sampler must {rule}; use one of: {', '.join(fit)}" for rule in wrong]


def scheduler_complaints(name: str) -> list[str]:
    """Say if a scheduler is unknown, or if a function of the user's own cannot be called."""
    if is_external(name):
        return call_complaints("scheduler", name)
    return [] if name in SCHEDULERS else [str(did_you_mean("scheduler", name, SCHEDULERS))]
