"""What an allocation policy is given to decide with."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainables.allocation.profiles import Profile
from trainables.pruning.granularity import Prunable


@dataclass(frozen=True)
class Problem:
    """A dense, trained network at one granularity, and what is known of its parts."""

    prunable: Prunable
    seed: int = 0
    profile: Profile | None = None  # only for policies that ask for it
    densities: Mapping[str, float] | None = None  # only for the policy "searched"
