"""Trials that searches evaluated to the end, their starting points included."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from search.results.rows import TrialRow
from trainables.frozen import Frozen
from trainables.names import SEARCHES, GranularityName
from trainables.spec import BudgetKind

TrialsBySeed = Mapping[int, Sequence[TrialRow]]


class SearchTrials(Frozen):
    """The searches of one network at one sparsity, pruned and recovered alike: one search for each seed."""

    model: str
    width: float
    dataset: str
    granularity: GranularityName
    criterion: str
    schedule: str
    before: str  # this and the next two fields as in a row of results
    rules: str
    compensation: str
    recovery: str
    curriculum: str
    sparsity: float
    budget: BudgetKind
    setting: str  # as in a comparison
    seeds: list[int]
    trials: int  # finished, over all seeds

    @classmethod
    def of(cls, by_seed: TrialsBySeed) -> "SearchTrials":
        """Describe searches by their trials."""
        first = next(trial for trials in by_seed.values() for trial in trials)
        shared = {name: getattr(first, name) for name in SearchTrials.model_fields if name in TrialRow.model_fields}
        return SearchTrials(**shared, seeds=sorted(by_seed), trials=sum(map(len, by_seed.values())))


def trials_of_searches(trials: Iterable[TrialRow], starts: Collection[str]) -> list[TrialsBySeed]:
    """Group the finished trials of searches, random ones included, by network, setting and sparsity, then by seed.

    starts: policies that searches start from; their trials count where the cell has a search.
    """
    cells: dict[str, list[TrialRow]] = defaultdict(list)
    for trial in trials:
        if trial.status == "done" and trial.policy in (*SEARCHES, *starts):
            cells[trial.cell].append(trial)
    groups: dict[tuple[str, str, str, float], dict[int, Sequence[TrialRow]]] = defaultdict(dict)
    for own in cells.values():
        if any(trial.policy in SEARCHES for trial in own):
            first = own[0]
            groups[first.dataset, first.model, first.setting, first.sparsity][first.seed] = own
    return [dict(sorted(by_seed.items())) for _, by_seed in sorted(groups.items())]
