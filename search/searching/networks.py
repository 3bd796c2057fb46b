"""Marks the network of a trial. Different densities may give the same network, which is trained once."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from search.results.rows import TrialRow
from trainables.artifacts.latency import saved_latency
from trainables.catalog.planned_parts import planned_parts
from trainables.latency.table import LatencyTable
from trainables.names import GATES_JOINT
from trainables.pruning_spec import Schedule
from trainables.spec import LatencySpec, TrialSpec
from trainables.storage.folder import Folder

Network = str  # mark of what each part keeps after each step; trials of one cell with the same mark have one result


def network_of(proposal: TrialSpec, storage: Folder | None = None) -> Network:
    """Mark the network of a proposal, before it runs.

    Where an earlier pruning decides the shapes, the network is not known, and different densities count as different.
    storage: has the latency table that a budget of latency reads; other budgets need none.
    """
    needed = proposal.latency_table
    parts = planned_parts(proposal, _table(storage, needed) if storage and needed else None)
    return _mark(proposal.sparsity, [proposal.densities or {}] if parts is None else parts)


def network_of_row(row: TrialRow) -> Network | None:
    """Mark the network of a trial that has ended; None if its row does not tell.

    A row tells the last step only. The policy gates-joint also changes the weights.
    """
    told = row.parts and row.schedule == Schedule().name and row.policy != GATES_JOINT
    return _mark(row.sparsity, [row.parts]) if told else None


@lru_cache(maxsize=16)
def _table(storage: Folder, spec: LatencySpec) -> LatencyTable:
    """Load a table once for all proposals."""
    return saved_latency(storage, spec)


def _mark(sparsity: float, steps: Iterable[Mapping[str, float]]) -> Network:
    text = repr((sparsity, [sorted(step.items()) for step in steps]))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
