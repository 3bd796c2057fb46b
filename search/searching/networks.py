"""Marks the network of a trial. Different densities may give the same network, which is trained once."""

import hashlib
from collections.abc import Iterable, Mapping

from search.results.rows import TrialRow
from trainables.catalog.planned_parts import planned_parts
from trainables.names import GATES_JOINT
from trainables.pruning_spec import Schedule
from trainables.spec import TrialSpec

Network = str  # mark of what each part keeps after each step; trials of one cell with the same mark have one result


def network_of(proposal: TrialSpec) -> Network:
    """Mark the network of a proposal, before it runs.

    Where an earlier pruning decides the shapes, the network is not known, and different densities count as different.
    """
    parts = planned_parts(proposal)
    return _mark(proposal.sparsity, [proposal.densities or {}] if parts is None else parts)


def network_of_row(row: TrialRow) -> Network | None:
    """Mark the network of a trial that has ended; None if its row does not tell.

    A row tells the last step only. The policy gates-joint also changes the weights.
    """
    told = row.parts and row.schedule == Schedule().name and row.policy != GATES_JOINT
    return _mark(row.sparsity, [row.parts]) if told else None


def _mark(sparsity: float, steps: Iterable[Mapping[str, float]]) -> Network:
    text = repr((sparsity, [sorted(step.items()) for step in steps]))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
