"""Batches whose images are mixed in pairs: mixup and cutmix."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trainables.data.batches import Batch
from trainables.recipe import Recipe


def mixed(batches: Iterable[Batch], recipe: Recipe, seed: tuple[int, int]) -> Iterator[Batch]:
    """Mix each batch of images and labels with itself in another order; each worker mixes its own share.

    Mixup (Zhang et al., arXiv 1710.09412) adds whole images: own share x + (1 - own share) x of the partner. Cutmix
    (Yun et al., arXiv 1905.04899) pastes a box of the partner, clipped at the borders; the own share is the area that
    stays. Where a recipe has both, each batch draws one of them with equal chance (ours, as in torchvision's recipes).
    """
    draws = np.random.default_rng(seed)
    for batch in batches:
        order = torch.from_numpy(draws.permutation(len(batch.index))).to(batch.index.device)
        both = recipe.mixup > 0 and recipe.cutmix > 0
        if recipe.mixup > 0 and not (both and draws.random() < 0.5):
            own = float(draws.beta(recipe.mixup, recipe.mixup))
            images = batch.images.lerp(batch.images[order], 1 - own)
        else:
            own, images = _pasted(batch.images, batch.images[order], float(draws.beta(*2 * (recipe.cutmix,))), draws)
        _, labels = batch.content
        weights = None if batch.weights is None else batch.weights[order]
        partner = replace(
            batch, content=(images, labels[order]), inputs=images, index=batch.index[order], weights=weights
        )
        yield replace(batch, content=(images, labels), inputs=images, partner=partner, own=own)


def _pasted(images: Tensor, others: Tensor, own: float, draws: np.random.Generator) -> tuple[float, Tensor]:
    """Paste the same box of `others` (B, C, H, W) into `images`. Return the share of the area that is left, and those.

    own: what the box would leave, were it not clipped.
    """
    height, width = images.shape[2:]
    side = (1 - own) ** 0.5 / 2  # half of a side of the box, as a fraction of the image's side
    row, column = int(draws.integers(height)), int(draws.integers(width))
    rows = slice(max(0, row - int(side * height)), row + int(side * height))
    columns = slice(max(0, column - int(side * width)), column + int(side * width))
    pasted = images.clone()
    pasted[:, :, rows, columns] = others[:, :, rows, columns]
    area = len(range(height)[rows]) * len(range(width)[columns])
    return 1 - area / (height * width), pasted
