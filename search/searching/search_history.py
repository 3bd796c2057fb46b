"""What has happened in one search: what it starts from, and the proposals of earlier runs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.results.names import curriculum_name, model_name
from search.results.rows import TrialRow
from search.study.search_spec import SearchSpec
from trainables.curriculum_spec import Curriculum
from trainables.names import RANDOM_SEARCH
from trainables.spec import TrialSpec

CONTROL = {"sampler": "random", "space": "layers", "warm_start": ()}  # settings of the control


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

    def __post_init__(self) -> None:
        if self.policy == RANDOM_SEARCH:
            self.settings = self.settings.model_copy(update=CONTROL)

    @property
    def remaining(self) -> int:
        """Number of proposals still to make; below 0 if the study has become smaller."""
        return self.settings.trials - len(self.starts) - len(self.earlier) - len(self.unfinished) - self.proposed

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
        return int(_hash(self.name, str(len(self.earlier) + len(self.unfinished))), 16)

    @property
    def name(self) -> str:
        """Name of the search in Optuna's journal; searches whose trials differ have different names."""
        first = self.cells[0]
        network = model_name(first.dense.model, first.dense.width)
        curriculum = "" if first.followed == Curriculum() else f"{curriculum_name(first.followed)}, "
        sparsity = f"{first.sparsity:g}" if len(self.cells) == 1 else "any"
        settings = (self.settings.space, *self.settings.goals, *self.settings.constraints)
        mark = _hash(*(cell.key() for cell in self.cells), *settings)
        return (
            f"{self.policy}: {network}, {first.granularity}s by {first.criterion}, {first.recovery}, "
            f"{curriculum}sparsity {sparsity}, seed {first.seed} ({mark})"
        )


def _hash(*texts: str) -> str:
    return hashlib.sha256("/".join(texts).encode()).hexdigest()[:8]
