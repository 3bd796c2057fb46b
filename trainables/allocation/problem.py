"""What an allocation policy is given to decide with."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.allocation.budget import total
from trainables.allocation.profiles import Profile
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import Scores
from trainables.pruning.granularity import Prunable
from trainables.spec import BudgetKind


@dataclass(frozen=True, eq=False)
class Problem:
    """A dense, trained network, the budget that its parts are to share, and what is known of them."""

    context: PruningContext
    scores: Scores  # of the criterion that will pick the units
    sparsity: float
    budget: BudgetKind
    recalibrated: bool = False  # whether batch norm will estimate its statistics anew before the network is used
    densities: Mapping[str, float] | None = None  # only for the policy "searched"

    @property
    def prunable(self) -> Prunable:
        """The network at its granularity."""
        return self.context.prunable

    @property
    def total(self) -> int:
        """The integer budget; ValueError where the parts' floors alone need more."""
        return total(self.prunable, self.sparsity, self.budget)

    @property
    def measured(self) -> Profile:
        """The profile, where it was asked for."""
        found: Profile = self.context.look("profile")
        return found
