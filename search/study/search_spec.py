"""How a search looks for densities: its settings, and what of them cannot work."""

from pydantic import Field

from trainables.frozen import Frozen
from trainables.names import SEARCHED

ACCURACY = "best_val_accuracy"
LATENCY = "latency_ms"  # a trial may know its own; `best` measures it on this machine
GOALS = (ACCURACY, "params", "macs", LATENCY)  # accuracy is to be high, the others low
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
