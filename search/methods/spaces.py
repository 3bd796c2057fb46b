"""What a search varies: the densities of parts, of groups of parts, or two parameters of a family of densities.

Only ratios of densities matter: every trial scales its densities to the same budget.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from torch import nn

from trainables.catalog import feasibility
from trainables.models.layers import Layer
from trainables.pruning.granularity import Part
from trainables.spec import DenseSpec, TrialSpec

SMALLEST = 0.001  # relative density
TOLERANCE = 0.01  # relative difference up to which densities count as the same
FAMILY = {"exponent": (0.0, 3.0), "offset": (0.0, 0.5)}

Densities = Mapping[str, float]  # part name -> relative density > 0
Params = Mapping[str, float]
Ties = Mapping[str, tuple[str, ...]]  # parameter -> names of the parts that share it


class Space(ABC):
    """Translates between the parameters that a sampler proposes and relative densities.

    Parts whose units a rule fixes have no density.
    """

    distributions: Mapping[str, FloatDistribution]

    @abstractmethod
    def densities(self, params: Params) -> dict[str, float]:
        """Compute the relative density of every free part, at most 1."""

    @abstractmethod
    def nearest(self, densities: Densities) -> dict[str, float]:
        """Find the parameters whose densities are nearest: least squares of the logarithms, up to a common factor."""

    def expresses(self, densities: Densities) -> bool:
        """Tell whether some parameters give these densities, up to a common factor and within 1 %."""
        nearest = self.densities(self.nearest(densities))
        residuals = np.array([np.log(density / densities[part]) for part, density in nearest.items()])
        return bool(np.abs(residuals - residuals.mean()).max() <= np.log1p(TOLERANCE))


class _Tied(Space):
    """One relative density for each group of parts."""

    def __init__(self, ties: Ties) -> None:
        self._ties = ties
        self.distributions = {name: FloatDistribution(SMALLEST, 1.0) for name in ties}

    def densities(self, params: Params) -> dict[str, float]:
        return {part: params[name] for name, parts in self._ties.items() for part in parts}

    def nearest(self, densities: Densities) -> dict[str, float]:
        """As `Space.nearest`; the densest group gets 1, and no group less than `SMALLEST`."""
        logs = {name: np.mean([np.log(densities[part]) for part in parts]) for name, parts in self._ties.items()}
        highest = max(logs.values())
        return {name: max(SMALLEST, float(np.exp(log - highest))) for name, log in logs.items()}


class _Family(Space):
    """Densities proportional to offset + w ** exponent, where w is a part's importance divided by the largest one."""

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
        target = np.log([densities[part] for part in self._parts])

        def residuals(point: NDArray[np.float64]) -> NDArray[np.float64]:
            differences = self._log_densities(point) - target
            centred: NDArray[np.float64] = differences - differences.mean(axis=-1, keepdims=True)
            return centred

        from scipy.optimize import least_squares  # an import of half a second that few studies need

        low, high = np.array(list(FAMILY.values())).T
        grid = np.stack(np.meshgrid(*np.linspace(low, high, 13).T), axis=-1).reshape(-1, 2)
        start = grid[np.square(residuals(grid)).sum(axis=1).argmin()]
        best = least_squares(residuals, start, bounds=(low, high), xtol=1e-12, ftol=1e-12).x
        return dict(zip(FAMILY, best.tolist(), strict=True))

    def _log_densities(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points (..., 2) of exponent and offset to logarithms of densities (..., parts)."""
        exponent, offset = points[..., :1], points[..., 1:]
        logs: NDArray[np.float64] = np.log(offset + np.exp(exponent * self._logs))
        return logs


def layers(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each part."""
    return _tied("layers", cell)


def stages(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each resolution: parts share it if their first layers give equally many pixels.

    All linear layers of the head share one, too.
    """
    return _tied("stages", cell)


def blocks(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """One relative density for each block: the innermost module around a part that is not a Sequential."""
    return _tied("blocks", cell)


def family(cell: TrialSpec, importances: Densities | None = None) -> Space:
    """An exponent in [0, 3] and an offset in [0, 0.5] that transform the densities of the policy capacity.

    (1, 0) gives capacity itself; exponent 0 gives uniform. The family is ours. importances: the fraction that the
    policy capacity keeps of each part at this budget; ValueError without it.
    """
    if importances is None:
        raise ValueError(
            f"search.space 'family' must start from a result of the policy capacity, but there is none for "
            f"{cell.dense.model} at sparsity {cell.sparsity}; let capacity finish, or use another space"
        )
    varied = _ties(_network(cell))["layers"] if cell.layers else importances
    return _Family({part: importances[part] for part in varied})


SPACES: Mapping[str, Callable[[TrialSpec, Densities | None], Space]] = {
    "layers": layers,
    "stages": stages,
    "blocks": blocks,
    "family": family,
}


def _tied(name: str, cell: TrialSpec) -> Space:
    ties = _ties(_network(cell))
    if len(ties[name]) < 2:
        more = [f"{other} ({len(groups)})" for other, groups in ties.items() if len(groups) > 1]
        fixed = " whose number no rule in layers fixes" if cell.layers else ""
        others = f"use one of: {', '.join([*more, f'family ({len(FAMILY)})'])}"
        raise ValueError(
            f"search.space must vary at least 2 densities, but {name!r} has {len(ties[name])} for the "
            f"{cell.granularity}s of {cell.dense.model}{fixed}; "
            f"{others if more or not cell.layers else 'take the searches out of policies'}"
        )
    return _Tied(ties[name])


def _network(cell: TrialSpec) -> TrialSpec:
    """Return the settings that decide which parts a network has."""
    dense = DenseSpec(model=cell.dense.model, width=cell.dense.width, data=cell.dense.data)
    return TrialSpec(dense=dense, granularity=cell.granularity, round_to=cell.round_to, layers=cell.layers)


@cache
def _ties(network: TrialSpec) -> dict[str, Ties]:
    """Group the free parts of a network in each way; cached, as building a large network takes seconds."""
    prunable = feasibility.blank(network)
    resolutions = sorted({_pixels(part.layers[0]) for part in prunable.parts}, reverse=True)
    free = [part for part in prunable.parts if part.is_free]
    stage = {pixels: "head" if pixels == 0 else f"stage{n}" for n, pixels in enumerate(resolutions, start=1)}
    return {
        "layers": {part.name: (part.name,) for part in free},
        "stages": _grouped(free, lambda part: stage[_pixels(part.layers[0])]),
        "blocks": _grouped(free, lambda part: _block(prunable.model, part.name)),
    }


def _grouped(parts: Sequence[Part], name_of: Callable[[Part], str]) -> Ties:
    groups: dict[str, tuple[str, ...]] = {}
    for part in parts:
        name = name_of(part)
        groups[name] = (*groups.get(name, ()), part.name)
    return groups


def _pixels(layer: Layer) -> int:
    """Number of pixels or tokens that a layer gives for one image; 0 for a linear layer of a head."""
    return 0 if layer.positions == 1 and len(layer.shape) == 2 else layer.positions


def _block(model: nn.Module, layer: str) -> str:
    """Find the innermost module around a layer that is not a Sequential; the layer itself if that is the network."""
    above = layer.rpartition(".")[0]
    while above and isinstance(model.get_submodule(above), nn.Sequential):
        above = above.rpartition(".")[0]
    return above or layer
