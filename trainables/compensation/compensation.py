"""Accuracy without training: re-fit what is left of each layer to the outputs that it had before pruning."""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.compensation.ridge import masked_ridge
from trainables.models.layers import weight_of
from trainables.pruning.granularity import Cut

DAMPING = 0.01  # pull towards the weights before the fit (ours)
PLACES = 40  # outputs of a layer that are read of each image, at most (ours)


@torch.no_grad()
def compensate(
    model: nn.Module,
    before: nn.Module,
    cut: Cut,
    images: Tensor,
    seed: int,
    batch_statistics: bool = True,
    damping: float = DAMPING,
) -> None:
    """Re-fit each convolution and linear layer of a pruned network in place by least squares, without labels.

    The layers follow in the order in which they run. Each one is fitted to the outputs of the same layer in the network
    before pruning, from the inputs that it has after pruning, when all layers before it are fitted already. One pass
    through each network does all of this, as a layer is fitted just before it runs. Least squares on the outputs of a
    layer is the idea of OBC (arXiv 2208.11580) and of ThiNet (arXiv 1707.06342); fitting in the pruned network, the
    damping and the sampled outputs are ours. Layers that run more than once, that are frozen, or that the network did
    not have before pruning stay as they are.

    Args:
        model: the pruned network.
        before: the network before pruning, in eval mode.
        cut: what is left of each layer; masked weights stay 0.
        images: (N, C, H, W), all of which are in memory together with one layer's inputs and outputs.
        seed: of the draw of sampled outputs.
        batch_statistics: whether batch norms normalise by these images instead of their running statistics, which are
            about to be estimated again.
        damping: as for `masked_ridge`.
    """
    targets = _Targets(before, seed)
    targets.read(images)
    training = model.training
    model.eval()
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm) and batch_statistics and module.track_running_stats:
                stack.callback(setattr, module, "track_running_stats", True)
                module.track_running_stats = False  # in training mode, torch then ignores running statistics
                module.train()
            if name in targets.of and isinstance(module, nn.Conv2d | nn.Linear) and weight_of(module).requires_grad:
                fit = _Fit(targets, name, cut.masks.get(name), cut.outputs.get(name), damping)
                stack.callback(module.register_forward_pre_hook(fit).remove)
        model(images)
    model.train(training)


class _Targets:
    """Sampled outputs of each layer of a network."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        self.of: dict[str, Tensor] = {}  # layer name -> (samples, outputs)
        self.rows: dict[str, Tensor] = {}  # layer name -> (samples,) indices of the sampled rows of its output
        self.normalised: set[str] = set()  # layers whose mean outputs a batch norm subtracts
        self._network = network
        self._draw = torch.Generator().manual_seed(seed)
        self._last: tuple[str, Tensor] | None = None  # name and output of the layer that has run last

    def read(self, images: Tensor) -> None:
        """Run the network once."""
        repeated: set[str] = set()
        most = PLACES * len(images)

        def take(name: str, module: nn.Module, output: Tensor) -> None:
            if name in self.of:
                repeated.add(name)
            rows = _as_rows(module, output)
            sampled = torch.randperm(len(rows), generator=self._draw)[:most].sort().values.to(rows.device)
            self.of[name], self.rows[name] = rows[sampled], sampled
            self._last = name, output

        def normalise(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if self._last and inputs[0] is self._last[1]:
                self.normalised.add(self._last[0])

        with ExitStack() as stack:
            for name, module in self._network.named_modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    hook = module.register_forward_hook(lambda m, _, output, name=name: take(name, m, output))
                    stack.callback(hook.remove)
                if isinstance(module, _BatchNorm):
                    stack.callback(module.register_forward_pre_hook(normalise).remove)
            self._network(images)
        self._last = None
        for name in repeated:
            del self.of[name]


@dataclass(frozen=True)
class _Fit:
    """Fits a layer when it is about to run."""

    targets: _Targets
    name: str
    mask: Tensor | None
    outputs: Tensor | None
    damping: float

    def __call__(self, module: nn.Conv2d | nn.Linear, inputs: tuple[Tensor, ...]) -> None:
        """Fit the layer to its targets from these inputs."""
        target = self.targets.of.pop(self.name)  # each layer runs once, and its targets take memory
        if self.outputs is not None:
            target = target[:, self.outputs.to(target.device)]
        read = _inputs_of(module, inputs[0], self.targets.rows.pop(self.name))  # (groups, samples, width)
        groups, rows = len(read), len(target.T) // len(read)
        target = target.unflatten(1, (groups, rows)).movedim(1, 0)
        weight = module.weight.flatten(1).unflatten(0, (groups, rows))
        mask = torch.ones_like(weight, dtype=torch.bool) if self.mask is None else self.mask.reshape(weight.shape)
        fits_bias = module.bias is not None and module.bias.requires_grad
        if module.bias is not None and not fits_bias:
            target = target - module.bias.unflatten(0, (groups, 1, rows))
        centred = fits_bias or self.name in self.targets.normalised
        mean_read, mean_target = (
            each.mean(1, keepdim=True) if centred else each.new_zeros(()) for each in (read, target)
        )
        fitted = masked_ridge(weight, mask.to(weight.device), read - mean_read, target - mean_target, self.damping)
        module.weight.copy_(fitted.reshape(module.weight.shape))
        if module.bias is not None and fits_bias:
            module.bias.copy_((mean_target - mean_read @ fitted.mT).flatten())


def _as_rows(module: nn.Module, output: Tensor) -> Tensor:
    """View the output of a layer as (rows, outputs): one row for each image and pixel, or each token."""
    return (output.movedim(1, -1) if isinstance(module, nn.Conv2d) else output).flatten(0, -2)


def _inputs_of(module: nn.Conv2d | nn.Linear, images: Tensor, rows: Tensor) -> Tensor:
    """Gather what a layer reads to compute some rows of its output: (groups, rows, inputs of a row)."""
    if isinstance(module, nn.Linear):
        return images.flatten(0, -2)[rows][None]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(images, module._reversed_padding_repeated_twice, mode=mode)
    (kh, kw), (sh, sw), (dh, dw) = module.kernel_size, module.stride, module.dilation
    high, wide = (padded.shape[2] - dh * (kh - 1) - 1) // sh + 1, (padded.shape[3] - dw * (kw - 1) - 1) // sw + 1
    image, y, x = rows // (high * wide), rows // wide % high * sh, rows % wide * sw
    patches = [padded[image, :, y + i * dh, x + j * dw] for i in range(kh) for j in range(kw)]
    by_group: Tensor = torch.stack(patches, dim=2).unflatten(1, (module.groups, -1))
    return by_group.flatten(2).movedim(1, 0)
