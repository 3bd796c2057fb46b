"""What the whole network loses under an allocation, measured by masking units for a moment."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.allocation.problem import Problem
from trainables.pruning.granularity import Counts, top_units

BATCH = 256  # samples at a time: enough for batch norms that use their statistics
SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25)  # of the logits


class MeasuredLoss:
    """What is lost, as a mean over samples, under allocations (parts,) of kept units. Each is measured once.

    The loss has two terms. The first is the divergence in nats from the dense network's predictions, with the pruned
    logits at their best scale: pruning shrinks logits, which changes no answer, and without the scale a silent network
    looks better than one that answers. The second is the dense network's confidence (a probability) that is forgone by
    answering as the pruned network does; it tells more where the pruned network says little.
    """

    def __init__(self, problem: Problem) -> None:
        """The network is in eval mode, but for its batch norms."""
        self._problem = problem
        self._model = problem.prunable.model
        self._state = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        self._saved = {name: tensor.detach().clone() for name, tensor in self._state.items()}
        self._known: dict[bytes, float] = {}
        self.dense = self._dense_logits().float().log_softmax(1)  # (N, classes)

    def __call__(self, keep: Counts) -> float:
        """Measure an allocation."""
        if (key := keep.tobytes()) not in self._known:
            self._known[key] = self._lost(self._logits(keep))
        return self._known[key]

    def around(self, keep: Counts, others: Sequence[Counts]) -> list[float]:
        """Measure allocations that differ little from `keep`."""
        return [self(other) for other in others]

    def prune(self, keep: Counts) -> dict[str, Tensor]:
        """Prune the network to an allocation. Return the masks of the parameters that lose weights."""
        self._prune_to(keep)
        gone = {name: (tensor == 0) & (self._saved[name] != 0) for name, tensor in self._model.named_parameters()}
        return {name: ~zeroed for name, zeroed in gone.items() if bool(zeroed.any())}

    @torch.no_grad()
    def undo(self) -> None:
        """Make the network what it was."""
        self._problem.prunable.unmask()
        for name, tensor in self._state.items():
            tensor.copy_(self._saved[name])

    def _mask(self, keep: Counts) -> None:
        """Restore the network, then mask all units but those of highest score."""
        self.undo()
        prunable, scores = self._problem.prunable, self._problem.scores
        counts = zip(prunable.parts, keep.tolist(), strict=True)
        prunable.mask({part.name: top_units(scores[part.name], units) for part, units in counts})

    def _prune_to(self, keep: Counts) -> None:
        self._mask(keep)

    def _dense_logits(self) -> Tensor:
        return self._run()

    def _logits(self, keep: Counts) -> Tensor:
        self._mask(keep)
        return self._run()

    @torch.no_grad()
    def _run(self) -> Tensor:
        """Run the network as it is now: logits (N, classes)."""
        return torch.cat([self._model(images) for images, _ in self._problem.context.samples.batches(BATCH)])

    def _lost(self, logits: Tensor) -> float:
        pruned = torch.stack([(scale * logits.float()).log_softmax(1) for scale in SCALES])  # (scales, N, classes)
        divergence = (self.dense.exp() * (self.dense - pruned)).sum(2).mean(1).min()
        answers = pruned[-1].argmax(1, keepdim=True)  # the same at every scale but 0
        forgone = self.dense.amax(1).exp() - self.dense.gather(1, answers)[:, 0].exp()
        return float(divergence + forgone.mean())
