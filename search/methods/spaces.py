"""What a search varies: densities of single parts, of parts tied together, or a bend of the capacity densities.

Only ratios of densities matter, as every proposal is filled to the same budget.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from scipy.optimize import least_squares
from torch import nn

from trainables.catalog import feasibility
from trainables.models.layers import Layer
from trainables.pruning.granularity import Part, Prunable
from trainables.spec import DenseSpec, TrialSpec

SMALLEST = 0.001  # relative density
TOLERANCE = 0.01  # by which densities may differ and still be the same
FAMILY = {"exponent": (0.0, 3.0), "offset": (0.0, 0.5)}

Densities = Mapping[str, float]  # part name -> relative density > 0
Params = Mapping[str, float]
Ties = Mapping[str, tuple[str, ...]]  # parameter -> names of the parts that share it


class Space(ABC):
    """Parameters that a sampler proposes, and the relative densities that they stand for."""

    distributions: Mapping[str, FloatDistribution]

    @abstractmethod
    def densities(self, params: Params) -> dict[str, float]:
        """Relative density of every part, at most 1."""

    @abstractmethod
    def nearest(self, densities: Densities) -> dict[str, float]:
        """Find the parameters whose densities come nearest, by least squares of the logarithms up to a factor."""

    def expresses(self, densities: Densities) -> bool:
        """Tell whether some parameters give these densities, up to a factor and within 1 %."""
        found = self.densities(self.nearest(densities))
        off = np.array([np.log(found[part] / density) for part, density in densities.items()])
        return bool(np.abs(off - off.mean()).max() <= np.log1p(TOLERANCE))


class _Tied(Space):
    """One relative density for each group of parts."""

    def __init__(self, ties: Ties) -> None:
        self._ties = ties
        self.distributions = {name: FloatDistribution(SMALLEST, 1.0) for name in ties}

    def densities(self, params: Params) -> dict[str, float]:
        return {part: params[name] for name, parts in self._ties.items() for part in parts}

    def nearest(self, densities: Densities) -> dict[str, float]:
        """As `Space.nearest`; the densest group gets 1, and none less than the smallest density that is proposed."""
        logs = {name: np.mean([np.log(densities[part]) for part in parts]) for name, parts in self._ties.items()}
        highest = max(logs.values())
        return {name: max(SMALLEST, float(np.exp(log - highest))) for name, log in logs.items()}


class _Family(Space):
    """Densities offset + w ** exponent, where w is a part's importance over the highest one."""

    def __init__(self, importances: Densities) -> None:
        self.distributions = {name: FloatDistribution(low, high) for name, (low, high) in FAMILY.items()}
        self._parts = list(importances)
        logs = np.log([importances[part] for part in self._parts])
        self._logs = logs - logs.max()  # (parts,) of w

    def densities(self, params: Params) -> dict[str, float]:
        relative = np.exp(self._log_densities(np.array([params["exponent"], params["offset"]])))
        return dict(zip(self._parts, (relative / (1.0 + params["offset"])).tolist(), strict=True))

    def nearest(self, densities: Densities) -> dict[str, float]:
        """As `Space.nearest`: the best point of a coarse grid, refined."""
        wanted = np.log([densities[part] for part in self._parts])

        def off(point: NDArray[np.float64]) -> NDArray[np.float64]:
            residuals = self._log_densities(point) - wanted
            centred: NDArray[np.float64] = residuals - residuals.mean(axis=-1, keepdims=True)
            return centred

        low, high = np.array(list(FAMILY.values())).T
        grid = np.stack(np.meshgrid(*np.linspace(low, high, 13).T), axis=-1).reshape(-1, 2)
        start = grid[np.square(off(grid)).sum(axis=1).argmin()]
        best = least_squares(off, start, bounds=(low, high), xtol=1e-12, ftol=1e-12).x
        return dict(zip(FAMILY, best.tolist(), strict=True))

    def _log_densities(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) to logarithms (..., parts)."""
        exponent, offset = points[..., :1], points[..., 1:]
        logs: NDArray[np.float64] = np.log(offset + np.exp(exponent * self._logs))
        return logs


def layers(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each part."""
    return _tied("layers", cell)


def stages(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each resolution: parts are tied whose first layers give as many pixels; so are heads."""
    return _tied("stages", cell)


def blocks(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each block: parts are tied that one module holds, of a kind other than Sequential."""
    return _tied("blocks", cell)


def family(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """An exponent in [0, 3] and an offset in [0, 0.5] that bend the densities of capacity.

    (1, 0) is capacity itself and exponent 0 is uniform. This is our reading of "a low-dimensional family". Raises
    ValueError without importances: what the policy capacity keeps of each part at this budget.
    """
    if importances is None:
        raise ValueError(
            f"search.space 'family' must know what capacity keeps of {cell.dense.model} at sparsity {cell.sparsity}, "
            "but got no such result; let capacity finish, or use another space"
        )
    return _Family(importances)


SPACES: Mapping[str, Callable[[TrialSpec, Densities | None], Space]] = {
    "layers": layers,
    "stages": stages,
    "blocks": blocks,
    "family": family,
}


def _tied(name: str, cell: TrialSpec) -> Space:
    dense = DenseSpec(model=cell.dense.model, width=cell.dense.width, data=cell.dense.data)
    ties = _ties(TrialSpec(dense=dense, granularity=cell.granularity))
    if len(ties[name]) < 2:
        more = [f"{other} ({len(groups)})" for other, groups in ties.items() if len(groups) > 1]
        raise ValueError(
            f"search.space must vary at least 2 densities, but {name!r} has {len(ties[name])} for the "
            f"{cell.granularity}s of {cell.dense.model}; use one of: {', '.join([*more, f'family ({len(FAMILY)})'])}"
        )
    return _Tied(ties[name])


@cache
def _ties(network: TrialSpec) -> dict[str, Ties]:
    """Tie the parts of a network in each way; building it takes seconds where it is large."""
    prunable = feasibility.blank(network)
    resolutions = sorted({_pixels(part.layers[0]) for part in prunable.parts}, reverse=True)
    stage = {pixels: "head" if pixels == 0 else f"stage{n}" for n, pixels in enumerate(resolutions, start=1)}
    return {
        "layers": {part.name: (part.name,) for part in prunable.parts},
        "stages": _grouped(prunable, lambda part: stage[_pixels(part.layers[0])]),
        "blocks": _grouped(prunable, lambda part: _block(prunable.model, part.name)),
    }


def _grouped(prunable: Prunable, name_of: Callable[[Part], str]) -> Ties:
    groups: dict[str, tuple[str, ...]] = {}
    for part in prunable.parts:
        name = name_of(part)
        groups[name] = (*groups.get(name, ()), part.name)
    return groups


def _pixels(layer: Layer) -> int:
    """Pixels, or tokens, of one image that a layer gives; 0 for a linear layer of a head, which sees no image."""
    return 0 if layer.positions == 1 and len(layer.shape) == 2 else layer.positions


def _block(model: nn.Module, layer: str) -> str:
    """Find the innermost module around a layer that is no mere sequence; the layer itself where only the network is."""
    above = layer.rpartition(".")[0]
    while above and isinstance(model.get_submodule(above), nn.Sequential):
        above = above.rpartition(".")[0]
    return above or layer
