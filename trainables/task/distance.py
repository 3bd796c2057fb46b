"""How far the outputs of a pruned network are from the dense network's, for whoever compares the two."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25)  # of the logits


def squared_error(dense: Tensor, outputs: Tensor) -> Tensor:
    """Mean squared difference of each sample: (B, ...) and (B, ...) -> (B,)."""
    return (outputs - dense).square().reshape(len(outputs), -1).mean(1)


@dataclass(frozen=True)
class Distance:
    """A distance of each sample's outputs from the dense network's. `reference` prepares the dense ones once."""

    function: Callable[[Tensor, Tensor], Tensor] = squared_error  # dense outputs, outputs (B, ...) -> (B,)

    def reference(self, dense: Tensor) -> Tensor:
        """Prepare the dense network's outputs (B, ...) for the other methods."""
        return dense.float()

    def of_samples(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """Return the distance of each sample: (B,)."""
        return self.function(reference, outputs.float())

    def mean(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """Return the mean distance of a batch, which a step of training minimises."""
        return self.of_samples(reference, outputs).mean()

    def lost(self, reference: Tensor, outputs: Tensor) -> float:
        """Return how much a network has lost that is not trained again: here the mean distance."""
        return float(self.mean(reference, outputs))


@dataclass(frozen=True)
class Divergence(Distance):
    """The Kullback-Leibler divergence (nats) of predicted probabilities from the dense network's.

    A sample with several predictions, such as tokens or pixels, has their mean.
    """

    axis: int = 1  # of the classes in the logits

    def reference(self, dense: Tensor) -> Tensor:
        """Return the dense network's log-probabilities."""
        return dense.float().log_softmax(self.axis)

    def of_samples(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """Return the divergence of each sample: (B,)."""
        divergence = self._terms(reference, outputs).sum(self.axis)
        return divergence if divergence.dim() == 1 else divergence.flatten(1).mean(1)

    def mean(self, reference: Tensor, outputs: Tensor) -> Tensor:
        """Return the mean divergence over all predictions of a batch."""
        return self._terms(reference, outputs).sum() / (outputs.numel() // outputs.shape[self.axis])

    def lost(self, reference: Tensor, outputs: Tensor) -> float:
        """Return the mean loss of two terms.

        The first is the divergence from the dense network's predictions, with the pruned logits at their best scale:
        pruning shrinks logits, which changes no answer, and without the scale a silent network looks better than one
        that answers. The second is the dense network's confidence (a probability) that is forgone by answering as the
        pruned network does; it tells more where the pruned network says little.
        """
        dense, logits = self._rows(reference), self._rows(outputs)
        pruned = torch.stack([(scale * logits.float()).log_softmax(1) for scale in SCALES])  # (scales, N, classes)
        divergence = (dense.exp() * (dense - pruned)).sum(2).mean(1).min()
        answers = pruned[-1].argmax(1, keepdim=True)  # the same at every scale but 0
        forgone = dense.amax(1).exp() - dense.gather(1, answers)[:, 0].exp()
        return float(divergence + forgone.mean())

    def _terms(self, reference: Tensor, outputs: Tensor) -> Tensor:
        predicted = outputs.float().log_softmax(self.axis)
        return F.kl_div(predicted, reference, reduction="none", log_target=True)

    def _rows(self, outputs: Tensor) -> Tensor:
        """Give each prediction a row: (N, classes)."""
        return outputs.movedim(self.axis, -1).flatten(0, -2)
