"""Before trials spend a budget of latency: what its tables say, and whether each budget can be reached."""

from collections.abc import Iterable

from search.networks.latency import report
from search.running.messages import Messages
from trainables.allocation import budget
from trainables.allocation.policies import policy
from trainables.artifacts.latency import saved_latency
from trainables.catalog.feasibility import blank
from trainables.pruning.granularity import Prunable
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


def check_latency_budgets(specs: Iterable[TrialSpec], storage: Folder, messages: Messages) -> None:
    """Say how well each latency table predicts, and warn of an unfit one. storage: has the tables.

    Raises ValueError for a budget that a network cannot reach on its device.
    """
    seen: dict[str, Prunable] = {}
    for spec in specs:
        if spec.latency_table is None:
            continue
        if (key := spec.latency_table.key()) not in seen:
            table = saved_latency(storage, spec.latency_table)
            seen[key] = table.priced(blank(spec))
            found = report(table, seen[key])
            messages.say(found.line)
            for line in found.warnings:
                messages.warn(line)
        try:
            budget.total(seen[key], spec.sparsity, spec.budget, policy(spec.policy).least(seen[key]))
        except ValueError as error:
            raise ValueError(f"{spec.dense.model}: {error}") from None
