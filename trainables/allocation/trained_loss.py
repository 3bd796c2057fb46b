"""What the whole network loses under an allocation once a short training has begun to repair it."""

import math

from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts
from trainables.recipe import Recipe
from trainables.training.short_training import short_training


class TrainedLoss:
    """The mean distance from the dense network's outputs over the steps of a short training."""

    def __init__(self, problem: Problem, untrained: MeasuredLoss, recipe: Recipe) -> None:
        """untrained: measures and restores the network that the training starts from. recipe: of the trial."""
        self._problem = problem
        self._untrained = untrained
        self._recipe = recipe
        self._known: dict[bytes, float] = {}

    def __call__(self, keep: Counts, most: float = math.inf) -> float:
        """Measure an allocation. It is infinite where the training diverges, or where the loss is above `most`."""
        if (key := keep.tobytes()) not in self._known:
            masks = self._untrained.prune(keep)
            context = self._problem.context
            self._known[key] = short_training(
                context.prunable.model,
                masks,
                self._untrained.dense,
                context.samples,
                self._recipe,
                context.seed,
                most,
            )
        return self._known[key]
