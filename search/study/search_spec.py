"""The settings of a search for densities."""

from typing import Annotated

from pydantic import Field

from search.methods.names import SAMPLER_ABILITIES, SCHEDULERS, SPACES
from trainables.frozen import Frozen
from trainables.names import SEARCHED, PolicyName, or_own

ACCURACY = "best_val_accuracy"
LATENCY = "latency_ms"  # a trial measures it if the study asks for it; `best` measures it again on its own machine
GOALS = (ACCURACY, "params", "macs", LATENCY)  # a high accuracy and low values of the others are better
CAPACITY = "capacity"  # the policy whose densities the space "family" varies
SamplerName = Annotated[str, or_own(SAMPLER_ABILITIES)]
SpaceName = Annotated[str, Field(json_schema_extra={"enum": [*SPACES]})]
SchedulerName = Annotated[str, or_own(SCHEDULERS)]
Goal = Annotated[str, Field(json_schema_extra={"enum": [*GOALS]})]


class SearchSpec(Frozen):
    """How the policies "searched" and "random-search" choose densities; each cell of the study has its own search.

    A search with several goals also proposes the sparsity, among those of the study.
    """

    trials: int = Field(20, ge=1, description="The most networks that one search trains, its starting points included.")
    sampler: SamplerName = Field("tpe", description="Optuna's sampler that proposes densities.")
    space: SpaceName = Field("layers", description="What a search varies.")
    scheduler: SchedulerName = Field(
        "fifo",
        description="How unpromising trials of a search are stopped early; named policies always run to the end.",
    )
    warm_start: tuple[PolicyName, ...] = Field(
        ("uniform", "erk", "lamp", "rdp", "capacity"), description="The policies whose results a search starts from."
    )
    goals: tuple[Goal, ...] = Field((ACCURACY,), description="What a search optimises: the accuracy first, then costs.")
    constraints: tuple[str, ...] = Field(
        (), description="Bounds on costs, such as 'macs<=0.4' (of the dense network) or 'latency_ms<=3'."
    )

    def starts(self, policy: str, cells: int) -> int:
        """Count the results that a search of `cells` cells starts from. "random-search" starts from none."""
        return len(self.warm_start) * cells if policy == SEARCHED else 0

    @property
    def timed(self) -> bool:
        """Whether the trials must measure their latency."""
        return LATENCY in self.goals or any(text.strip().startswith(LATENCY) for text in self.constraints)
