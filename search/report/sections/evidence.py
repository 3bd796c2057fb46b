"""What a report shows: a comparison, its trials, and their names and styles in all charts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from search.comparison.compare import BASELINE, Comparison, ComparisonRow
from search.comparison.wording import in_order, network_of
from search.figures.chart import Style, styles
from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from search.results.scale import scale_of
from search.study.spec import StudySpec
from trainables.artifacts.needs import needed
from trainables.checkpoints import artifact_store
from trainables.counts import noun
from trainables.names import Source
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder


@dataclass(frozen=True)
class Evidence:
    """The data of all sections."""

    comparison: Comparison
    folders: Sequence[StudyFolder]
    studies: Sequence[StudySpec]
    trials: Sequence[TrialRow]  # each once, without failed ones
    style_of: Mapping[str, Style]  # policy -> its style
    settings: Mapping[str, list[ComparisonRow]]  # name of a network and its training -> rows by sparsity and policy

    @property
    def metrics(self) -> str:
        """The metrics of the comparison: "accuracy", or "accuracy or r2"."""
        return " or ".join(sorted({row.metric for row in self.comparison.rows}))

    @property
    def head_of_metrics(self) -> str:
        """The head of a column with values of the metrics: "accuracy (%)"."""
        return " or ".join(sorted({scale_of(row.metric).axis for row in self.comparison.rows}))

    @property
    def title_of_metrics(self) -> str:
        """The metrics in the title of a table: "Accuracy in %"."""
        title = " or ".join(sorted({scale_of(row.metric).title for row in self.comparison.rows}))
        return title[:1].upper() + title[1:]

    @property
    def finished(self) -> list[TrialRow]:
        """The trials that ran to their end."""
        return [trial for trial in self.trials if trial.status == "done"]

    @property
    def starts(self) -> set[str]:
        """The policies that searches start from."""
        return {start for study in self.studies for start in study.search.warm_start}

    def policies(self, rows: Sequence[ComparisonRow | TrialRow]) -> list[str]:
        """Give the policies of these rows, in the order of all charts."""
        present = {row.policy for row in rows}
        return [policy for policy in self.style_of if policy in present]

    def trials_of(self, rows: Sequence[ComparisonRow]) -> list[TrialRow]:
        """Give the trials of the setting of these rows."""
        return [trial for trial in self.trials if trial.setting == rows[0].setting]


def gather(comparison: Comparison, folders: Sequence[StudyFolder]) -> Evidence:
    """Read what a report shows in addition to the comparison of these study folders."""
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
        style_of=styles(policies),
        settings=settings,
    )


def shared_by(evidence: Evidence, kind: Source) -> Iterator[tuple[TrialSpec, Any, Folder]]:
    """Yield each trial that needs an artifact of this kind, the spec of the artifact, and its folder in the storage.

    A trial stands for all trials of its cell and policy: it has no densities from a search.
    """
    for folder in evidence.folders:
        study, storage = folder.study, folder.folder.parent
        for policy, cell in product(study.all_policies(), study.cells()):
            trial = cell.under(policy, study.gates)
            named = needed(trial).get(kind)
            stored = artifact_store.find(storage, kind, named.key()) if named else None
            if stored is not None:
                yield trial, named, stored


def seeds_of(rows: Sequence[ComparisonRow]) -> str:
    """Write the seeds of these rows."""
    seeds = sorted({seed for row in rows for seed in row.seeds})
    return f"{noun(len(seeds), 'seed')} {', '.join(map(str, seeds))}"
