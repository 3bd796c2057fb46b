"""What is wrong with the settings of a search."""

import re
from collections.abc import Sequence

from search.methods import names
from search.study.search_spec import ACCURACY, CAPACITY, GOALS, SearchSpec
from trainables.lookup import did_you_mean
from trainables.names import GIVEN, OF_DENSITIES
from trainables.own_function import is_external
from trainables.spec import TrialSpec

BOUND = rf"\s*({'|'.join(GOALS[1:])})\s*(<=|<|>=|>)\s*(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"


def complaints(search: SearchSpec, starts: int) -> list[str]:
    """List the mistakes in the settings of a search. No heavy library is imported.

    starts: the number of results that each search starts from.
    """
    problems = []
    for policy in sorted({*OF_DENSITIES} & {*search.warm_start}):
        rule = "find densities by a rule" if policy == GIVEN else "are not searches"
        problems.append(f"search.warm_start must name policies that {rule}, but got {policy!r}; leave it out")
    for policy in filter(is_external, search.warm_start):
        problems.append(f"search.warm_start must name policies of the catalog, but got {policy!r}; leave it out")
    if search.space not in names.SPACES:
        problems.append(str(did_you_mean("space", search.space, names.SPACES)))
    problems += names.scheduler_complaints(search.scheduler)
    if search.trials <= starts:
        problems.append(f"search.trials must exceed its {starts} starting points, but got {search.trials}; raise it")
    if search.space == "family" and CAPACITY not in search.warm_start:
        problems.append(f"search.space 'family' must know the densities of {CAPACITY!r}; add it to search.warm_start")
    problems += names.sampler_complaints(search.sampler, len(search.goals), bool(search.constraints))
    return [*problems, *_of_goals(search), *_of_constraints(search.constraints)]


def unvaried(search: SearchSpec, cells: Sequence[TrialSpec]) -> list[str]:
    """List the networks in which the search space has nothing to vary. The networks are built for this."""
    from search.methods.spaces import SPACES

    problems = []
    for cell in cells:
        if search.space == "family" and not cell.layers:
            continue
        try:
            SPACES["layers" if search.space == "family" else search.space](cell, None)
        except ValueError as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))


def _of_goals(search: SearchSpec) -> list[str]:
    problems = [str(did_you_mean("goal", goal, GOALS)) for goal in search.goals if goal not in GOALS]
    if search.goals[:1] != (ACCURACY,) or len(set(search.goals)) < len(search.goals):
        problems.append(f"search.goals must begin with {ACCURACY}, each named once, but got {list(search.goals)}")
    return problems


def _of_constraints(constraints: Sequence[str]) -> list[str]:
    return [
        f"search.constraints must bound one of {', '.join(GOALS[1:])} by a number, as 'macs<=0.4', but got {text!r}"
        for text in constraints
        if not re.fullmatch(BOUND, text)
    ]
