"""How a search looks for densities: its settings, and what of them cannot work."""

import re
from collections.abc import Sequence

from pydantic import Field

from trainables.spec import SEARCHED, SEARCHES, Frozen, TrialSpec
from trainables.tables import did_you_mean

ACCURACY = "val_accuracy"
LATENCY = "latency_ms"  # a trial may know its own; `best` measures it on this machine
GOALS = (ACCURACY, "params", "macs", LATENCY)  # accuracy is to be high, the others low
BOUND = rf"\s*({'|'.join(GOALS[1:])})\s*(<=|<|>=|>)\s*(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"
CAPACITY = "capacity"  # the policy whose densities the space "family" bends


class SearchSpec(Frozen):
    """How the policy "searched" looks for densities; each cell of the study is a search of its own.

    A search with several goals proposes the sparsity, too, among those of the study: its front spans them.
    """

    trials: int = Field(20, ge=1)  # evaluations of one search, its starting points included
    sampler: str = "tpe"
    space: str = "layers"  # what a search varies
    scheduler: str = "fifo"  # stops unpromising trials of a search early; named policies always run to the end
    warm_start: tuple[str, ...] = ("uniform", "erk", "lamp", "rdp", "capacity")  # whose results a search starts from
    goals: tuple[str, ...] = (ACCURACY,)
    constraints: tuple[str, ...] = ()  # as "macs<=0.4", of the dense network's, or "latency_ms<=3"

    def starts(self, policy: str, cells: int) -> int:
        """Count the results that a search of so many cells starts from; the control starts from none."""
        return len(self.warm_start) * cells if policy == SEARCHED else 0

    @property
    def timed(self) -> bool:
        """Whether trials must measure their latency."""
        return LATENCY in self.goals or any(text.strip().startswith(LATENCY) for text in self.constraints)


def complaints(search: SearchSpec, starts: int) -> list[str]:
    """Say all that is wrong with searches from so many starting points and can be told without their networks."""
    from search import samplers
    from search.schedulers import SCHEDULERS
    from search.spaces import SPACES

    found = []
    for policy in sorted({*SEARCHES} & {*search.warm_start}):
        found.append(f"search.warm_start must name policies other than {policy!r}")
    for kind, name, table in (("scheduler", search.scheduler, SCHEDULERS), ("space", search.space, SPACES)):
        if name not in table:
            found.append(str(did_you_mean(kind, name, table)))
    if search.trials <= starts:
        found.append(f"search.trials must exceed its {starts} starting points, but got {search.trials}; raise it")
    if search.space == "family" and CAPACITY not in search.warm_start:
        found.append(f"search.space 'family' must know the densities of {CAPACITY!r}; add it to search.warm_start")
    found += samplers.complaints(search.sampler, len(search.goals), bool(search.constraints))
    return [*found, *_of_goals(search), *_of_constraints(search.constraints)]


def unvaried(search: SearchSpec, cells: Sequence[TrialSpec]) -> list[str]:
    """Say which networks leave the search's space nothing to vary."""
    from search.spaces import SPACES

    found = []
    for cell in cells if search.space != "family" else ():
        try:
            SPACES[search.space](cell, None)
        except ValueError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))


def _of_goals(search: SearchSpec) -> list[str]:
    found = [str(did_you_mean("goal", goal, GOALS)) for goal in search.goals if goal not in GOALS]
    if search.goals[:1] != (ACCURACY,) or len(set(search.goals)) < len(search.goals):
        found.append(f"search.goals must begin with {ACCURACY}, each named once, but got {list(search.goals)}")
    if len(search.goals) > 1 and search.scheduler != "fifo":
        found.append(
            f"search.scheduler must be 'fifo' where a search has several goals, but got {search.scheduler!r}: what one "
            "of them says of a trial is no reason to stop it"
        )
    return found


def _of_constraints(constraints: Sequence[str]) -> list[str]:
    return [
        f"search.constraints must bound one of {', '.join(GOALS[1:])} by a number, as 'macs<=0.4', but got {text!r}"
        for text in constraints
        if not re.fullmatch(BOUND, text)
    ]
