"""Workers that train one network together: each takes its share of every batch, and gradients are averaged."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.data.batches import Share
from trainables.training.cuda_graphs import Forward, Learner
from trainables.training.norms import synchronised


def _no_followers(training: Any) -> None:
    """Ask the missing workers to start: a worker alone has none."""


@dataclass(frozen=True)
class Team:
    """One worker among all workers of a training. They stay in step if all of them run the same Training."""

    rank: int = 0  # 0 leads: it prunes, saves and reports, and calls the followers to train
    size: int = 1  # number of workers
    call: Callable[[Any], None] = _no_followers  # the leader sends its followers a Training with this

    @property
    def share(self) -> Share:
        """This worker's part of each batch."""
        return Share(self.rank, self.size)

    def synchronised(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let batch norm use the statistics of the whole batch inside this context, not of this worker's share.

        Raises ValueError for a kind of batch norm that torch does not define.
        """
        return nullcontext() if self.size == 1 else synchronised(model)

    def forward(self, model: nn.Module, parameters: list[Tensor]) -> Forward:
        """Return the forward pass of a network in training; its gradients are the mean over the workers.

        model: with the same weights in all workers. parameters: all tensors that learn, those of gates included.
        """
        learner = Learner(model, parameters)
        # static_graph: each step uses the same weights, so torch need not search for unused ones
        return nn.parallel.DistributedDataParallel(learner, static_graph=True, gradient_as_bucket_view=True)

    def total(self, value: Tensor) -> Tensor:
        """Sum a tensor over the workers, in place, and return it; all workers call this."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Stack the tensors (...) of all workers, for all of them: (size, ...)."""
        if self.size == 1:
            return rows[None]
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts)


ALONE = Team()
