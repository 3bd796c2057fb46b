"""Batch norm over a batch that several workers share: the statistics are those of the whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@contextmanager
def synchronised(model: nn.Module) -> Iterator[None]:
    """Make the batch norms of a network use the statistics of the whole batch inside this context.

    The modules stay the same objects and keep their hooks; only their class changes: to `nn.SyncBatchNorm` on a GPU,
    and to ours on a CPU, which torch's class does not support. Raises ValueError for a subclass of torch's batch norms.
    """
    norms: list[tuple[Any, type]] = [(norm, type(norm)) for norm in model.modules() if isinstance(norm, _BatchNorm)]
    for _, kind in norms:
        if kind not in KNOWN:
            raise ValueError(
                f"a network that several workers train must have torch's own batch norms, but has a {kind.__name__}; "
                "set resources.workers to 1"
            )
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    for norm, _ in norms:
        norm.__class__ = nn.SyncBatchNorm if on_gpu else _Synchronised
        norm.process_group = None  # None: all workers; SyncBatchNorm reads this attribute
    try:
        yield
    finally:
        for norm, kind in norms:
            norm.__class__ = kind
            del norm.process_group


class _Synchronised(_BatchNorm):
    """Batch norm over several workers; it sums in float64, so that the split into shares hardly changes the result."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...) by the statistics over all workers; B may be 0 in this worker."""
        if not self.training:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        axes = [axis for axis in range(input.dim()) if axis != 1]
        exact = input.double()
        count_here = exact.new_full((1,), input.numel() / input.shape[1])
        sums: Tensor = _Sum.apply(torch.cat((exact.sum(axes), exact.square().sum(axes), count_here)))
        count = sums[-1].detach()
        mean, square = (sums[:-1] / count).chunk(2)
        var = square - mean.square()
        self._update_running(mean, var * count / (count - 1))
        scale = (var + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = (self.bias if self.affine else 0.0) - mean * scale
        shape = (1, -1, *[1] * (input.dim() - 2))
        return input * scale.float().view(shape) + shift.float().view(shape)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.float(), momentum)
        self.running_var.lerp_(var.float(), momentum)


class _Sum(torch.autograd.Function):
    """The sum over all workers. The gradient of each worker's part is the sum of the workers' gradients."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].clone()
        dist.all_reduce(whole)
        return whole
