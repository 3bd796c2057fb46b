"""What a search's Optuna study varies: densities, and the sparsity if the search has several cells."""

from collections.abc import Mapping

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search.methods.spaces import SPACES
from search.searching.search_history import SearchHistory
from search.study.search_spec import CAPACITY
from trainables.spec import TrialSpec

SPARSITY = "sparsity"  # parameter of a search over several cells

Params = Mapping[str, float]
Densities = Mapping[str, float]  # part name -> relative density > 0


class SearchSpace:
    """Translates between Optuna's parameters and trials."""

    distributions: dict[str, BaseDistribution]

    def __init__(self, history: SearchHistory) -> None:
        """Build the space of each cell; ValueError if one cannot be built."""
        self._policy = history.policy
        self._cells = {cell.sparsity: cell for cell in history.cells}
        importances = {row.sparsity: row.parts for row in history.starts if row.policy == CAPACITY}
        self._spaces = {
            sparsity: SPACES[history.settings.space](cell, importances.get(sparsity))
            for sparsity, cell in self._cells.items()
        }
        self.distributions = dict(next(iter(self._spaces.values())).distributions)
        if len(self._cells) > 1:
            self.distributions[SPARSITY] = CategoricalDistribution(sorted(self._cells))

    def spec(self, params: Params) -> TrialSpec:
        """Spec of the trial that parameters stand for."""
        sparsity = params.get(SPARSITY, next(iter(self._cells)))
        densities = self._spaces[sparsity].densities({name: v for name, v in params.items() if name != SPARSITY})
        return self._cells[sparsity].model_copy(update={"policy": self._policy, "densities": densities})

    def draw(self, generator: np.random.Generator) -> dict[str, float]:
        """Draw parameters uniformly."""
        cells = sorted(self._cells)
        return {
            name: generator.uniform(known.low, known.high)
            if isinstance(known, FloatDistribution)
            else cells[generator.integers(len(cells))]
            for name, known in self.distributions.items()
        }

    def params(self, sparsity: float, densities: Densities) -> dict[str, float]:
        """Parameters whose densities come nearest to these."""
        params = self._spaces[sparsity].nearest(densities)
        return params | ({SPARSITY: sparsity} if SPARSITY in self.distributions else {})

    def expresses(self, sparsity: float, densities: Densities) -> bool:
        """Tell whether some parameters give these densities, up to a factor and within 1 %."""
        return self._spaces[sparsity].expresses(densities)
