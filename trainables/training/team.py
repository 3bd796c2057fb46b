"""Workers that train one network as one would: each takes its share of every batch, and gradients are averaged."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.data.batches import Share
from trainables.training.cuda_graphs import Forward, Shell
from trainables.training.norms import synchronised


def _nobody(training: Any) -> None:
    """Call those who are not there."""


@dataclass(frozen=True)
class Team:
    """A worker's place among all those of a training; they train in step, as long as all are given the same."""

    rank: int = 0  # 0 leads: it prunes, judges, saves and reports, and calls the others when there is to train
    size: int = 1
    call: Callable[[Any], None] = _nobody  # hands the others a training; none but the leader calls

    @property
    def share(self) -> Share:
        """This worker's part of each batch."""
        return Share(self.rank, self.size)

    def synchronised(self, model: nn.Module) -> AbstractContextManager[None]:
        """Let batch norm know the whole batch for a while, not this worker's share only."""
        return nullcontext() if self.size == 1 else synchronised(model)

    def forward(self, model: nn.Module, parameters: list[Tensor]) -> Forward:
        """The network in training, whose gradients come to be the mean over the workers; all must have the same one.

        parameters: all that learn, those of gates on the network included.
        """
        shell = Shell(model, parameters)
        # the graph is the same in each step, so what a network does not use of itself need not be looked for
        return nn.parallel.DistributedDataParallel(shell, static_graph=True, gradient_as_bucket_view=True)

    def total(self, counted: Tensor) -> Tensor:
        """Add up what each worker has counted."""
        if self.size > 1:
            dist.all_reduce(counted)
        return counted

    def gather(self, rows: Tensor) -> Tensor:
        """What each worker has (...), for all to see: (size, ...)."""
        if self.size == 1:
            return rows[None]
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts)


ALONE = Team()
