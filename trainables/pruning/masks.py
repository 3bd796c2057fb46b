"""Weight granularity: single weights are masked."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.models.layers import Masks, prunable_layers, weight_of
from trainables.pruning.granularity import Counts, Cut, Part, Read
from trainables.spec import BudgetKind


class Weights:
    """Single weights; each layer keeps at least as many weights as it has outputs."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.layers = prunable_layers(model, example)
        self.parts = tuple(Part(layer.name, layer.size, layer.shape[0], (layer,)) for layer in self.layers)
        self.held = {part.name: "a weight for each output" for part in self.parts if part.floor == part.units}
        self.model = model
        self.example = example
        self._positions = np.array([layer.positions for layer in self.layers])

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the kept weights, or the multiply-accumulates for one image of a kernel that skips zeros."""
        return int(keep.sum() if kind == "params" else keep @ self._positions)

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the weights of each layer: part name -> (weights, 1)."""
        return {part.name: read(self.model.get_submodule(part.name)).detach().reshape(-1, 1) for part in self.parts}

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Zero all weights but `kept_units` in place."""
        self.remove(kept_units)

    def unmask(self) -> None:
        """Do nothing: no module is skipped."""

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Zero all weights but `kept_units` in place."""
        masks = {}
        for name, kept in kept_units.items():
            weight = weight_of(self.model.get_submodule(name))
            mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
            mask[kept.to(weight.device)] = True
            masks[name] = mask.view_as(weight)
        apply(self.model, masks)
        return Cut(masks=masks)


@torch.no_grad()
def apply(model: nn.Module, masks: Masks) -> None:
    """Zero every masked weight in place."""
    for name, mask in masks.items():
        weight_of(model.get_submodule(name)).masked_fill_(~mask, 0.0)
