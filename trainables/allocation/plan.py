"""A plan: what each part of one network keeps, decided before anything is removed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trainables.allocation.policies import POLICIES, allocate
from trainables.allocation.problem import Problem
from trainables.allocation.profiles import Profile
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularity import Prunable, top_units
from trainables.pruning.layers import Masks
from trainables.pruning.subject import Calibration, Subject
from trainables.pruning.views import view
from trainables.spec import TrialSpec


@dataclass(frozen=True)
class Plan:
    """The units that each part keeps, and which ones."""

    prunable: Prunable
    keep: Mapping[str, Tensor]  # part name -> sorted unit indices
    seconds: float  # spent on scoring and on sharing the budget

    @property
    def parts(self) -> dict[str, float]:
        """Fraction of its units that each part keeps."""
        return {part.name: len(self.keep[part.name]) / part.units for part in self.prunable.parts}

    def carry_out(self) -> Masks:
        """Remove everything else from the network, in place; return what must stay masked."""
        return self.prunable.remove(self.keep)


def looks_at_samples(spec: TrialSpec) -> bool:
    """Tell whether the criterion or the policy of a trial needs calibration samples."""
    return CRITERIA[spec.criterion].calibrated or POLICIES[spec.policy].calibrated


def plan(
    model: nn.Module, example: Tensor, spec: TrialSpec, calibration: Calibration | None, profile: Profile | None
) -> Plan:
    """Share the budget of `spec` among the parts of a dense network and pick the units of highest score in each.

    example: (1, C, H, W) on the network's device. calibration and profile: for whom asks for them.
    """
    started = time.perf_counter()
    prunable = view(model, spec.granularity, example)
    subject = Subject(prunable, spec.seed, calibration)
    scores = CRITERIA[spec.criterion].score(subject)
    problem = Problem(
        subject, scores, spec.sparsity, spec.budget, spec.recalibrate > 0, profile=profile, densities=spec.densities
    )
    counts = allocate(POLICIES[spec.policy], problem)
    keep = {name: top_units(scores[name], units) for name, units in counts.items()}
    return Plan(prunable, keep, time.perf_counter() - started)
