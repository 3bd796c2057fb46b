"""Verifies what a trial keeps against its budget of latency, which its table prices again."""

import numpy as np

from trainables.allocation.budget import amount, total
from trainables.artifacts.latency import load_latency
from trainables.checkpoints import artifact_store
from trainables.checkpoints.checkpoint import Checkpoint
from trainables.outcome import Facts
from trainables.pruning.granularities import view
from trainables.pruning.latency_cost import PICOSECONDS
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


def beyond_time(saved: Checkpoint, spec: TrialSpec, facts: Facts, storage: Folder) -> list[str]:
    """Say where a trial keeps more time than its budget, or another time than it reports.

    saved: the pruned network. storage: has the latency table; without it nothing is checked. Raises ValueError for a
    damaged table.
    """
    if spec.latency_table is None:
        return []
    folder = artifact_store.find(storage, "latency", spec.latency_table.key())
    if folder is None:
        return []
    table, _ = load_latency(folder)
    network, example = saved.architecture.whole.build(), saved.architecture.example()
    prunable = table.priced(view(network, spec.granularity, example, spec.round_to, spec.layers))
    if {part.name for part in prunable.parts} != facts.parts.keys():
        return ["it does not say what each part keeps, which its budget of latency needs"]
    kept = np.array([round(facts.parts[part.name] * part.units) for part in prunable.parts])
    cost, budget = prunable.cost(kept, spec.budget), total(prunable, spec.sparsity, spec.budget)
    problems = []
    if facts.predicted_latency_ms != (found := cost / PICOSECONDS):
        problems.append(f"its parts take {found} ms by its table, but it reports {facts.predicted_latency_ms}")
    if cost > budget:
        kind = spec.budget
        problems.append(f"its parts take {amount(cost, kind)}, more than its budget of {amount(budget, kind)}")
    return problems
