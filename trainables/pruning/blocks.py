"""Block granularity: whole blocks of layers are removed from the chain that they form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from trainables.arguments import Arguments
from trainables.models.layers import Layer, inventory, is_inside
from trainables.models.removed_blocks import (
    Projection,
    ProjectionSpec,
    Removed,
    mask_module,
    remove_blocks,
    unmask_module,
)
from trainables.names import GranularityName
from trainables.pruning.block_chain import Block, find_chain
from trainables.pruning.granularity import Counts, Cut, Part, Read
from trainables.pruning.held import not_pruned
from trainables.pruning.latency_cost import LatencyCost, LatencyTerms, latency_terms, picoseconds
from trainables.pruning.residual_branches import mask_branch
from trainables.spec import BudgetKind


@dataclass(frozen=True)
class RemovableBlock:
    """A block that can be removed."""

    block: Block
    layers: tuple[Layer, ...]
    macs_fixed: int  # of its products without the weights of a layer
    projection: ProjectionSpec | None  # what replaces the block; None where it keeps the shape

    @property
    def savings(self) -> tuple[int, int]:
        """The weights, and the multiply-accumulates for one image, that its removal saves."""
        weights = sum(layer.size for layer in self.layers)
        macs = sum(layer.macs for layer in self.layers) + self.macs_fixed
        if self.projection is None:
            return weights, macs
        inputs, (outputs, height, width) = self.block.inputs[0], self.block.outputs
        return weights - inputs * outputs, macs - inputs * outputs * height * width


class Blocks:
    """Whole blocks that keep the shape of their input; a stage may lose all of them. The first block always stays.

    A layer of a transformer is two blocks, its attention and its MLP. Without both of them it adds nothing.
    """

    granularity: ClassVar[GranularityName] = "block"
    stays: ClassVar[str] = "changes the shape"  # why a block cannot be removed

    def __init__(self, model: nn.Module, example: Arguments) -> None:
        self._inventory = inventory(model, example)
        self.layers, self.macs_fixed = self._inventory.layers, self._inventory.macs_fixed
        self.model = model
        self.example = example
        self.latency: LatencyCost | None = None
        self.chain = find_chain(model, example)
        self.stages = self._stages()
        if not self.stages:
            raise ValueError(
                f"granularity {self.granularity!r} must find removable blocks, but {type(model).__name__} has none"
                f"{not_pruned(self.held)}; use granularity 'weight'"
            )
        self.parts = tuple(
            Part(
                name, len(units), 0, tuple(layer for unit in units for layer in unit.layers), kind=self._kind(units[0])
            )
            for name, units in self.stages.items()
        )

    @property
    def held(self) -> dict[str, str]:
        """What cannot be removed: blocks of the chain, and layers outside of it -> the reason; most weights first."""
        reasons: dict[str, str] = {}
        for layer in sorted(self.layers, key=lambda layer: -layer.size):
            at = next((n for n, block in enumerate(self.chain) if layer in self._layers_in(block)), None)
            if at is None:
                reasons[layer.name] = "in no block"
            elif at in self.fixed:
                reasons.setdefault(self.chain[at].name, "the first block" if at == 0 else self._why(self.chain[at]))
        return reasons

    @property
    def fixed(self) -> set[int]:
        """The positions in the chain of the blocks that cannot be removed."""
        removable = {unit.block for units in self.stages.values() for unit in units}
        return {position for position, block in enumerate(self.chain) if block not in removable}

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, of the network with `keep` blocks of each part."""
        if kind == "latency":
            return picoseconds(self.latency, keep)
        total = sum(layer.size if kind == "params" else layer.macs for layer in self.layers)
        total += self.macs_fixed if kind == "macs" else 0
        for units, kept in zip(self.stages.values(), keep, strict=True):
            weights, macs = units[0].savings
            total -= (weights if kind == "params" else macs) * (len(units) - int(kept))
        return total

    def latency_terms(self) -> LatencyTerms:
        """Say what the latency of the network grows with: a constant, and the number of blocks of each part."""
        each = np.eye(len(self.parts), dtype=np.int64)
        blocks = [(part.name, 1, [(of_part, 0)]) for part, of_part in zip(self.parts, each, strict=True)]
        return latency_terms([("constant", 1, []), *blocks], len(self.parts))

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather the weights of all layers of each block: part name -> (units, weights of a block)."""
        return {
            name: torch.stack([torch.cat([self._read(read, layer) for layer in unit.layers]) for unit in units])
            for name, units in self.stages.items()
        }

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Skip all blocks but `kept_units`, or run their projections instead, until `unmask`."""
        for unit in self._removed_units(kept_units):
            if unit.block.branch:
                mask_branch(self.model, unit.block.branch)
                continue
            first, *others = (self.model.get_submodule(name) for name in unit.block.modules)
            mask_module(first, self._like_model(Projection(unit.projection) if unit.projection else Removed()).eval())
            for module in others:
                mask_module(module, Removed())

    def unmask(self) -> None:
        """Run the skipped blocks again."""
        for block in self.chain:
            for name in block.modules:
                unmask_module(self.model.get_submodule(name))

    def remove(self, kept_units: Mapping[str, Tensor]) -> Cut:
        """Remove all blocks but `kept_units` in place. Layers that stay are whole."""
        removed: list[str] = []
        projections: dict[str, ProjectionSpec] = {}
        branches: dict[str, int] = {}
        for unit in self._removed_units(kept_units):
            if unit.block.branch:
                branches |= dict(unit.block.branch.modules)
                continue
            first, *others = unit.block.modules
            removed += others
            if unit.projection:
                projections[first] = unit.projection
            else:
                removed.append(first)
        remove_blocks(self.model, tuple(removed), projections, branches)
        self._like_model(self.model)
        return Cut()

    def _stages(self) -> dict[str, list[RemovableBlock]]:
        """Group the blocks of equal shape and cost: part name -> its units, in the order of the chain."""
        stages: dict[tuple[object, ...], list[RemovableBlock]] = {}
        with_projections = self.granularity == "projected-block"
        for block in self.chain[1:]:
            layers, products = self._layers_in(block), map(self._inventory.macs_fixed_in, block.modules)
            unit = RemovableBlock(block, layers, sum(products), None if block.keeps_shape else _projection(block))
            if self._shares(block) or self._encloses(block) or (block.branch and block.branch.stays):
                continue
            if block.keeps_shape or (with_projections and unit.projection and min(unit.savings) > 0):
                stages.setdefault((block.inputs, block.outputs, unit.savings), []).append(unit)
        return {units[0].block.name: units for units in stages.values()}

    def _layers_in(self, block: Block) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if is_inside(layer.name, block.modules))

    def _kind(self, unit: RemovableBlock) -> str:
        """Name the classes of the modules of a block: attentions agree with one another, and MLPs do."""
        return " ".join(sorted(type(self.model.get_submodule(name)).__name__ for name in unit.block.modules))

    def _why(self, block: Block) -> str:
        """Say why a block other than the first one cannot be removed."""
        if self._shares(block):
            return "shares a weight"
        return block.branch.stays if block.branch else self.stays

    def _encloses(self, block: Block) -> bool:
        """Tell whether other blocks are inside of a block."""
        others = (other for other in self.chain if other is not block)
        return any(is_inside(name, block.modules) for other in others for name in other.modules)

    def _shares(self, block: Block) -> bool:
        """Tell whether a module of a block shares a weight with another module."""
        shared = (layer for layer in self.layers if layer.shared)
        return any(is_inside(name, block.modules) for layer in shared for name in (layer.name, *layer.shared))

    def _like_model(self, module: nn.Module) -> nn.Module:
        """Move a module to the network's device and dtype."""
        return module.to(next(self.model.parameters()))

    def _read(self, read: Read, layer: Layer) -> Tensor:
        return layer.of(read(layer.parameter)).detach().flatten()

    def _removed_units(self, kept_units: Mapping[str, Tensor]) -> Iterator[RemovableBlock]:
        for name, kept in kept_units.items():
            kept_indices = set(kept.tolist())
            yield from (unit for index, unit in enumerate(self.stages[name]) if index not in kept_indices)


class ProjectedBlocks(Blocks):
    """Whole blocks; a 1x1 convolution and a batch norm replace a removed block that changes the shape."""

    granularity = "projected-block"
    stays = "a projection has another shape or saves nothing"


def _projection(block: Block) -> ProjectionSpec | None:
    """Find the 1x1 convolution with the input and output shapes of a block; None where no stride gives them."""
    (in_channels, *input_size), (out_channels, *output_size) = block.inputs, block.outputs
    stride = -(-input_size[0] // output_size[0])
    fits = [(pixels - 1) // stride + 1 for pixels in input_size] == output_size
    return (in_channels, out_channels, stride) if fits else None
