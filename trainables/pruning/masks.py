"""Weight granularity: single weights are masked."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.arguments import Arguments
from trainables.models.layers import Masks, inventory
from trainables.pruning.granularity import Counts, Cut, Part, Read
from trainables.pruning.latency_cost import LatencyCost, LatencyTerms, latency_terms, picoseconds
from trainables.spec import BudgetKind


class Weights:
    """Single weights; each layer keeps at least as many weights as it has outputs."""

    def __init__(self, model: nn.Module, example: Arguments) -> None:
        found = inventory(model, example)
        self.layers = found.layers
        if not self.layers:
            raise ValueError(f"granularity 'weight' must find matrices to prune, but {type(model).__name__} has none")
        self.parts = tuple(
            Part(layer.name, layer.size, layer.outputs, (layer,), kind=layer.kind) for layer in self.layers
        )
        self.held = {part.name: "a weight for each output" for part in self.parts if part.floor == part.units}
        self.model = model
        self.example = example
        self._positions = np.array([layer.positions for layer in self.layers])
        self.macs_fixed = found.macs_fixed
        self.latency: LatencyCost | None = None

    def latency_terms(self) -> LatencyTerms:
        """Say that the latency is a constant: masked weights save no time."""
        return latency_terms([("constant", 1, [])], len(self.parts))

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the kept weights, or the multiply-accumulates for one image of a kernel that skips zeros.

        Products without weights, as those of attention, always count in full.
        """
        if kind == "latency":
            return picoseconds(self.latency, keep)
        return int(keep.sum() if kind == "params" else keep @ self._positions + self.macs_fixed)

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the weights of each layer: part name -> (weights, 1)."""
        return {layer.name: layer.of(read(layer.parameter)).detach().reshape(-1, 1) for layer in self.layers}

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Zero all weights but `kept_units` in place."""
        self.remove(kept_units)

    def unmask(self) -> None:
        """Do nothing: no module is skipped."""

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Zero all weights but `kept_units` in place."""
        masks = dict[str, Tensor]()
        for layer in self.layers:
            if layer.name in kept_units:
                weight = self.model.get_parameter(layer.parameter)
                whole = torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
                mask = layer.of(masks.setdefault(layer.parameter, whole)).view(-1)
                mask.zero_()[kept_units[layer.name].to(weight.device)] = True
        apply(self.model, masks)
        return Cut(masks=masks)


@torch.no_grad()
def apply(model: nn.Module, masks: Masks) -> None:
    """Zero every masked weight in place."""
    for name, mask in masks.items():
        model.get_parameter(name).masked_fill_(~mask, 0.0)
