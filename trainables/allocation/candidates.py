"""Measure allocations in the state in which a trial will use the network."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.modules.batchnorm import _BatchNorm

from trainables.allocation.compensated_loss import CompensatedLoss
from trainables.allocation.measured_loss import MeasuredLoss
from trainables.allocation.problem import Problem
from trainables.models.modes import eval_mode


@contextmanager
def candidates(problem: Problem) -> Iterator[MeasuredLoss]:
    """Yield the loss of allocations. On exit the network is as it was before.

    Batch norm uses the statistics that the pruned network will have: those of the calibration samples where they are
    estimated again, otherwise the dense network's. Where the trial compensates, each network is measured compensated.
    """
    model = problem.prunable.model
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with eval_mode(model):
        for parameter in frozen:  # compensation leaves these layers as they are
            parameter.requires_grad_(False)
        loss = (CompensatedLoss if problem.compensated else MeasuredLoss)(problem)
        try:
            for norm in norms:
                norm.momentum = 0.0
                norm.train(problem.recalibrated)
            yield loss
        finally:
            loss.undo()
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
