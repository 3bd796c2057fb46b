"""Block granularity: whole blocks of layers, taken out of the chain that they form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.models.layers import Layer, Masks, prunable_layers
from trainables.models.removed_blocks import Projection, ProjectionSpec, Removed, remove_blocks
from trainables.pruning.block_chain import Block, find_chain
from trainables.pruning.granularity import Counts, Part, Read
from trainables.spec import BudgetKind


@dataclass(frozen=True)
class Unit:
    """A block that can go."""

    block: Block
    layers: tuple[Layer, ...]
    projection: ProjectionSpec | None  # what stands in for it; None where nothing need

    @property
    def saved(self) -> tuple[int, int]:
        """Weights, and multiply-accumulates for one image, that are gone with it."""
        weights = sum(layer.size for layer in self.layers)
        macs = sum(layer.macs for layer in self.layers)
        if self.projection is None:
            return weights, macs
        inputs, (outputs, height, width) = self.block.inputs[0], self.block.outputs
        return weights - inputs * outputs, macs - inputs * outputs * height * width


class Blocks:
    """Whole blocks, of those that change no shape, all of a stage if need be; the first one of the network stays."""

    projecting: ClassVar[bool] = False

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.layers = prunable_layers(model, example)
        self.model = model
        self.example = example
        self.chain = find_chain(model, example)
        self.stages = self._stages()  # part name -> its units, all of one shape and cost, in the order of the chain
        self.parts = tuple(
            Part(name, len(units), 0, tuple(layer for unit in units for layer in unit.layers))
            for name, units in self.stages.items()
        )

    @property
    def fixed(self) -> set[int]:
        """Places in the chain of the blocks that cannot go."""
        movable = {unit.block for units in self.stages.values() for unit in units}
        return {place for place, block in enumerate(self.chain) if block not in movable}

    def cost(self, keep: Counts, kind: BudgetKind) -> int:
        """Count the weights, or multiply-accumulates for one image, with so many blocks of each part and all else."""
        total = sum(layer.size if kind == "params" else layer.macs for layer in self.layers)
        for units, kept in zip(self.stages.values(), keep, strict=True):
            weights, macs = units[0].saved
            total -= (weights if kind == "params" else macs) * (len(units) - int(kept))
        return total

    def members(self, read: Read) -> dict[str, Tensor]:
        """Gather all weights of each block's layers."""
        return {
            name: torch.stack([torch.cat([self._read(read, layer) for layer in unit.layers]) for unit in units])
            for name, units in self.stages.items()
        }

    def mask(self, kept_units: Mapping[str, Tensor]) -> None:
        """Skip every other block, or run what would stand in for it instead, until `unmask`."""
        for unit in self._gone(kept_units):
            first, *others = (self.model.get_submodule(name) for name in unit.block.modules)
            stand_in = Projection(unit.projection) if unit.projection else Removed()
            vars(first)["forward"] = self._at_home(stand_in).eval()  # an object's attribute goes before its class's
            for module in others:
                vars(module)["forward"] = Removed()

    def unmask(self) -> None:
        """Run the skipped blocks again."""
        for block in self.chain:
            for name in block.modules:
                vars(self.model.get_submodule(name)).pop("forward", None)

    def remove(self, kept_units: Mapping[str, Tensor]) -> Masks:
        """Take every other block out of the network; nothing is left to mask."""
        removed: list[str] = []
        projections: dict[str, ProjectionSpec] = {}
        for unit in self._gone(kept_units):
            first, *others = unit.block.modules
            removed += others
            if unit.projection:
                projections[first] = unit.projection
            else:
                removed.append(first)
        remove_blocks(self.model, tuple(removed), projections)
        self._at_home(self.model)
        return {}

    def _stages(self) -> dict[str, list[Unit]]:
        stages: dict[tuple[object, ...], list[Unit]] = {}
        for block in self.chain[1:]:
            unit = Unit(block, self._within(block), None if block.keeps_shape else _projection(block))
            if block.keeps_shape or (self.projecting and unit.projection and min(unit.saved) > 0):
                stages.setdefault((block.inputs, block.outputs, unit.saved), []).append(unit)
        if not stages:
            raise ValueError(
                f"granularity 'block' must find blocks that can go, but {type(self.model).__name__} has none; "
                "use granularity 'weight'"
            )
        return {units[0].block.name: units for units in stages.values()}

    def _within(self, block: Block) -> tuple[Layer, ...]:
        return tuple(
            layer
            for layer in self.layers
            if any(layer.name == name or layer.name.startswith(f"{name}.") for name in block.modules)
        )

    def _at_home(self, module: nn.Module) -> nn.Module:
        """Put a module where the network is, in its precision."""
        return module.to(next(self.model.parameters()))

    def _read(self, read: Read, layer: Layer) -> Tensor:
        return read(self.model.get_submodule(layer.name)).detach().flatten()

    def _gone(self, kept_units: Mapping[str, Tensor]) -> Iterator[Unit]:
        for name, kept in kept_units.items():
            stays = set(kept.tolist())
            yield from (unit for n, unit in enumerate(self.stages[name]) if n not in stays)


class ProjectedBlocks(Blocks):
    """Whole blocks; where one that changes shapes goes, a 1x1 convolution and a batch norm take its place."""

    projecting = True


def _projection(block: Block) -> ProjectionSpec | None:
    """Find the 1x1 convolution that changes shapes as a block does; None where no stride makes it."""
    (inputs, *sides), (outputs, *wanted) = block.inputs, block.outputs
    stride = -(-sides[0] // wanted[0])
    fits = [(side - 1) // stride + 1 for side in sides] == wanted
    return (inputs, outputs, stride) if fits else None
