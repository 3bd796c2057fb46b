"""What an allocation policy knows when it decides."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.allocation.budget import total
from trainables.allocation.profiles import Profile
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import Scores
from trainables.pruning.granularity import Prunable
from trainables.recipe import Recipe
from trainables.spec import BudgetKind


@dataclass(frozen=True, eq=False)
class Problem:
    """A trained dense network, the budget that its parts share, and what is known about the parts."""

    context: PruningContext
    scores: Scores  # of the criterion that will pick the units
    sparsity: float
    budget: BudgetKind
    recalibrated: bool = False  # whether batch-norm statistics are estimated again before the network is used
    compensated: bool = False  # whether the trial compensates the network after pruning
    training: Recipe | None = None  # how the trial trains the pruned weights; None: it does not
    densities: Mapping[str, float] | None = None  # only for the policies that get them

    @property
    def prunable(self) -> Prunable:
        """The network at its granularity."""
        return self.context.prunable

    @property
    def total(self) -> int:
        """The integer budget. Raises ValueError where the floors of the parts need more."""
        return total(self.prunable, self.sparsity, self.budget)

    @property
    def measured(self) -> Profile:
        """The profile, where the policy's inputs name it."""
        profile: Profile = self.context.artifact("profile")
        return profile
