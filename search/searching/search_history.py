"""What has happened in one search: what it starts from, and the proposals of earlier runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from search.methods.schedulers import Past
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.results.scale import public_name
from search.results.searches import hash_of, name_of, settings_of
from search.study.cells import cell_key
from search.study.search_spec import ACCURACY, SearchSpec
from trainables.spec import TrialSpec


class SearchKey(NamedTuple):
    """A search, or, of a search over several cells, its part in one cell."""

    policy: str
    cell: str


def search_key(spec: TrialSpec) -> SearchKey:
    """Name the search that a trial of a search policy belongs to, or its part in the trial's cell."""
    return SearchKey(spec.policy, cell_key(spec))


@dataclass(eq=False)
class SearchHistory:
    """A search over cells that differ in nothing but sparsity: one cell, or all of them if there are several goals."""

    policy: str
    cells: Sequence[TrialSpec]
    settings: SearchSpec
    starts: list[TrialRow] = field(default_factory=list)  # results of named policies
    earlier: list[TrialRow] = field(default_factory=list)  # proposals of earlier runs that have ended
    unfinished: list[TrialSpec] = field(default_factory=list)  # proposals of earlier runs that have not ended
    proposed: int = 0  # by this run
    exhausted: bool = False  # whether the search has found no new network

    def __post_init__(self) -> None:
        self.settings = settings_of(self.policy, self.settings)

    @property
    def proposals(self) -> int:
        """Number of proposals that were or are run."""
        return len(self.earlier) + len(self.unfinished) + self.proposed

    @property
    def remaining(self) -> int:
        """Number of proposals still to make; below 0 if the study has become smaller."""
        return 0 if self.exhausted else self.settings.trials - len(self.starts) - self.proposals

    @property
    def ended(self) -> list[TrialRow]:
        """What the search starts from, and the proposals of earlier runs that have ended."""
        return [*self.starts, *self.earlier]

    @property
    def continues(self) -> bool:
        """Whether an earlier run made proposals."""
        return bool(self.earlier or self.unfinished)

    @property
    def seed(self) -> int:
        """Seed of the sampler: a continued search has another one, so that it does not draw its first points again."""
        return int(hash_of(self.name, str(len(self.earlier) + len(self.unfinished))), 16)

    @property
    def goals(self) -> list[str]:
        """The goals, as results name them."""
        return [public_name(goal, self.cells[0].dense.data.task.metric.name) for goal in self.settings.goals]

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Optuna's direction of each goal: costs are minimised, and the metric as it prefers."""
        higher = self.cells[0].dense.data.task.metric.higher_is_better
        return ["maximize" if goal == ACCURACY and higher else "minimize" for goal in self.settings.goals]

    @cached_property
    def name(self) -> str:
        """Name of the search in Optuna's journal."""
        return name_of(self.policy, self.cells, self.settings)


def past_trials(history: SearchHistory, folder: StudyFolder) -> dict[str, Past]:
    """Read the trials that a search starts from, and its trials of earlier runs, by their keys."""
    outcomes = folder.read_outcomes(row.trial for row in history.ended)
    return {
        outcome.spec.key(): Past(outcome.history, outcome.facts.costs if outcome.facts else {})
        for outcome in outcomes
        if outcome.history
    }
