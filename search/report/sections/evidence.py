"""What a report shows: a comparison, the trials behind it, and how they are named and drawn throughout."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from search.comparison.compare import BASELINE, Comparison, ComparisonRow
from search.comparison.wording import in_order, network_of
from search.figures.chart import Style, styles
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.study.spec import StudySpec
from trainables.artifacts.kinds import needed
from trainables.checkpoints import artifact_store
from trainables.names import Source
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class Evidence:
    """All that the sections draw from."""

    comparison: Comparison
    folders: Sequence[StudyFolder]
    studies: Sequence[StudySpec]
    trials: Sequence[TrialRow]  # each once, failed ones left out
    looks: Mapping[str, Style]  # policy -> its style
    settings: Mapping[str, list[ComparisonRow]]  # name of a network and its treatment -> rows by sparsity and policy

    @property
    def finished(self) -> list[TrialRow]:
        """Trials that ran to their end."""
        return [trial for trial in self.trials if trial.status == "done"]

    @property
    def starts(self) -> set[str]:
        """Policies that searches start from."""
        return {start for study in self.studies for start in study.search.warm_start}

    def policies(self, rows: Sequence[ComparisonRow | TrialRow]) -> list[str]:
        """Policies of these rows, in the order that all charts have."""
        present = {row.policy for row in rows}
        return [policy for policy in self.looks if policy in present]

    def trials_of(self, rows: Sequence[ComparisonRow]) -> list[TrialRow]:
        """Trials of the setting that these rows are of."""
        return [trial for trial in self.trials if trial.setting == rows[0].setting]


def gather(comparison: Comparison, folders: Sequence[StudyFolder]) -> Evidence:
    """Read what a report on these study folders shows beside their comparison."""
    trials: dict[str, TrialRow] = {}
    homes: dict[str, dict[str, None]] = {}  # setting -> names of its studies
    for folder in folders:
        for row in folder.rows():
            if row.status != "failed" and row.best_val_accuracy is not None:
                trials.setdefault(row.trial, row)
                homes.setdefault(row.setting, {})[folder.folder.name] = None
    rows = in_order(comparison.rows)
    grouped: dict[str, list[ComparisonRow]] = {}
    for compared in rows:
        grouped.setdefault(compared.setting, []).append(compared)
    settings: dict[str, list[ComparisonRow]] = {}
    for setting, own in grouped.items():
        home = " + ".join(homes.get(setting, {})) if len(folders) > 1 else own[0].dataset
        name = f"{home}: {network_of(own[0])}"
        settings[f"{name} ({setting[:6]})" if name in settings else name] = own
    policies = sorted({row.policy for row in rows}, key=lambda policy: (policy != BASELINE, policy))
    return Evidence(
        comparison=comparison,
        folders=folders,
        studies=[folder.study for folder in folders],
        trials=list(trials.values()),
        looks=styles(policies),
        settings=settings,
    )


def shared_by(evidence: Evidence, kind: Source) -> Iterator[tuple[TrialSpec, Any, Folder]]:
    """Yield trials that need something of this kind, the spec of that, and where their storage has it.

    Trials stand for all of their cell and policy: what a search proposed for them is left out.
    """
    for folder in evidence.folders:
        study, storage = folder.study, folder.folder.parent
        for policy, cell in product(study.all_policies(), study.cells()):
            trial = cell.under(policy, study.gates)
            named = needed(trial).get(kind)
            place = artifact_store.find(storage, kind, named.key()) if named else None
            if place is not None:
                yield trial, named, place


def seeds_of(rows: Sequence[ComparisonRow]) -> str:
    """Name the seeds of these rows."""
    seeds = sorted({seed for row in rows for seed in row.seeds})
    return f"seed{'s' if len(seeds) != 1 else ''} {', '.join(map(str, seeds))}"
