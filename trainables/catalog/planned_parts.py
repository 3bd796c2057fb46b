"""What a trial of a search keeps of each part, known before the trial runs."""

from functools import lru_cache

from trainables.allocation.plan import Quota, quotas
from trainables.catalog import feasibility
from trainables.latency.table import LatencyTable
from trainables.pruning.context import PruningContext
from trainables.pruning.granularity import Prunable
from trainables.spec import DenseSpec, TrialSpec


def planned_parts(spec: TrialSpec, table: LatencyTable | None = None) -> tuple[dict[str, float], ...] | None:
    """Fraction of its units that each part keeps after each step, as `Plan.parts`: from densities and shapes alone.

    The policy of `spec` must be a search. table: prices the parts for a budget of latency. None: an earlier pruning
    decides the shapes, so that they are not known.
    """
    if spec.before:
        return None
    dense = DenseSpec(model=spec.dense.model, width=spec.dense.width, data=spec.dense.data)
    prunable = _prunable(
        TrialSpec(dense=dense, granularity=spec.granularity, round_to=spec.round_to, layers=spec.layers)
    )
    if table:
        prunable = table.priced(prunable)
    units = {part.name: part.units for part in prunable.parts}

    def fractions(quota: Quota) -> dict[str, float]:
        return {name: quota[name] / count for name, count in units.items()}

    return tuple(map(fractions, quotas(spec, PruningContext(prunable), {})))


@lru_cache(maxsize=16)
def _prunable(network: TrialSpec) -> Prunable:
    """Build a network once for all its searches: a large one takes seconds."""
    return feasibility.blank(network)
