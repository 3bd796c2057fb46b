"""What the whole network loses under an allocation, measured by masking units for a moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.allocation.problem import Problem
from trainables.models.layers import eval_mode
from trainables.pruning.granularity import Counts, top_units

BATCH = 256  # samples at a time: enough for batch norms that use their statistics
SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25)  # of the logits

Loss = Callable[[Counts], float]  # (parts,) units kept -> what is lost, mean over samples


@contextmanager
def candidates(problem: Problem) -> Iterator[Loss]:
    """Yield a loss of allocations. On exit the network is as it was before.

    The loss has two terms. The first is the divergence in nats from the dense network's predictions, with the pruned
    logits at their best scale: pruning shrinks logits, which changes no answer, and without the scale a silent network
    looks better than one that answers. The second is the dense network's confidence (a probability) that is forgone by
    answering as the pruned network does; it tells more where the pruned network says little. Batch norm uses the
    statistics that the pruned network will have: those of each calibration batch where they are estimated again,
    otherwise the dense network's.
    """
    prunable, model = problem.prunable, problem.prunable.model
    tensors = (*model.parameters(), *model.buffers())
    saved = [tensor.detach().clone() for tensor in tensors]
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    known: dict[bytes, float] = {}

    @torch.no_grad()
    def restore() -> None:
        prunable.unmask()
        for tensor, original in zip(tensors, saved, strict=True):
            tensor.copy_(original)

    @torch.no_grad()
    def log_probabilities(scales: tuple[float, ...]) -> Tensor:
        logits = torch.cat([model(images) for images, _ in problem.context.samples.batches(BATCH)]).float()
        return torch.stack([(scale * logits).log_softmax(1) for scale in scales])  # (scales, N, classes)

    def loss(keep: Counts) -> float:
        if (key := keep.tobytes()) not in known:
            restore()
            counts = zip(prunable.parts, keep.tolist(), strict=True)
            prunable.mask({part.name: top_units(problem.scores[part.name], units) for part, units in counts})
            pruned = log_probabilities(SCALES)
            divergence = (dense.exp() * (dense - pruned)).sum(2).mean(1).min()
            answers = pruned[-1].argmax(1, keepdim=True)  # the same at every scale but 0
            forgone = dense.amax(1).exp() - dense.gather(1, answers)[:, 0].exp()
            known[key] = float(divergence + forgone.mean())
        return known[key]

    with eval_mode(model):
        dense = log_probabilities((1.0,))[0]
        try:
            for norm in norms:
                norm.momentum = 0.0
                norm.train(problem.recalibrated)
            yield loss
        finally:
            restore()
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
