"""What pruning forgets: samples that the dense network had right and the pruned one has wrong."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.comparison.estimates import Estimate
from search.learnability.runs import Run, ease
from search.results.folder import StudyFolder
from search.results.names import pruning_name
from search.results.rows import TrialRow
from search.study.cells import cell_key
from search.study.spec import StudySpec
from trainables.frozen import Frozen
from trainables.learnability.detection import roc_auc
from trainables.learnability.measures import MEASURES
from trainables.learnability.records import Records, read_records
from trainables.spec import Curriculum
from trainables.training.recorder import SAMPLES

Stage = Literal["before recovery", "after recovery"]
STAGES: tuple[Stage, ...] = ("before recovery", "after recovery")
Wrong = NDArray[np.bool_]


class Treatment(NamedTuple):
    """What trials have in common whose seeds are averaged."""

    network: str
    treatment: str
    policy: str
    sparsity: float

    @classmethod
    def of(cls, row: TrialRow) -> "Treatment":
        """Name what was done to the network of a trial."""
        followed = () if row.curriculum == Curriculum().name else (row.curriculum,)
        return cls(row.model, ", ".join((pruning_name(row), row.recovery, *followed)), row.policy, row.sparsity)


class Forgotten(Frozen):
    """What networks that were pruned alike have wrong of what their dense ones had right in the last epoch."""

    network: str
    treatment: str
    policy: str
    sparsity: float
    stage: Stage
    share: Estimate  # of what the dense network had right
    auc: Estimate | None  # chance that what is forgotten had a lower learnability; None where nothing is, or all


class FoundAgain(Frozen):
    """How well a measure that was taken while pruned networks recovered finds flipped labels."""

    network: str
    treatment: str
    policy: str
    sparsity: float
    measure: str
    auc: Estimate


def forgotten(
    study: StudySpec, folder: StudyFolder, runs: Sequence[Run], wrong: Wrong | None
) -> tuple[list[Forgotten], list[FoundAgain]]:
    """Look at the finished trials of a study that were recorded: of a search, each seed's best one.

    runs: of the study's dense networks. wrong: which labels were flipped (N,), where some were.
    """
    dense = {run.spec: run for run in runs}
    cells = {cell_key(cell): dense[cell.dense] for cell in study.cells() if cell.dense in dense}
    lost, found = [], []
    recorded = _recorded(folder, cells)
    for treatment, rows in sorted(recorded.items(), key=lambda each: (study.models.index(each[0].network), each[0])):
        told = treatment._asdict()
        pairs = [(read_records(folder.trial(row.trial)), cells[row.cell]) for row in rows]
        losses: dict[Stage, list[tuple[float, float | None]]] = {}
        for records, run in pairs:
            for stage, share, auc in _losses(records, run):
                losses.setdefault(stage, []).append((share, auc))
        for stage, each in losses.items():
            aucs = [auc for _, auc in each if auc is not None]
            shares = Estimate.of([share for share, _ in each])
            lost.append(Forgotten(**told, stage=stage, share=shares, auc=Estimate.of(aucs) if aucs else None))
        if wrong is not None:
            for measure in MEASURES:
                aucs = [_flipped(records, run, measure, wrong) for records, run in pairs]
                found.append(FoundAgain(**told, measure=measure, auc=Estimate.of(aucs)))
    return lost, found


def _recorded(folder: StudyFolder, cells: Mapping[str, Run]) -> dict[Treatment, list[TrialRow]]:
    best: dict[tuple[Treatment, int], TrialRow] = {}
    for row in folder.rows():
        if row.status == "done" and row.cell in cells and folder.trial(row.trial).has(SAMPLES):
            named = Treatment.of(row), row.seed
            if named not in best or (row.best_val_accuracy or 0.0) > (best[named].best_val_accuracy or 0.0):
                best[named] = row
    found: dict[Treatment, list[TrialRow]] = {}
    for (treatment, _), row in sorted(best.items(), key=lambda each: each[0]):
        found.setdefault(treatment, []).append(row)
    return found


def _losses(records: Records, run: Run) -> Iterator[tuple[Stage, float, float | None]]:
    """Tell at each stage the share forgotten, and the area under the ROC curve of low learnability for that."""
    places = np.searchsorted(run.ids, records.ids)
    hard = -run.ease("learnability")[places]
    stages: dict[Stage, int] = {"before recovery": 0} if records.epochs[0] == 0 else {}
    if records.epochs[-1] > 0:
        stages["after recovery"] = -1
    for stage, epoch in stages.items():
        asked = run.right[places] & records.seen[epoch]
        lost = ~records.hits[epoch][asked]
        if len(lost):
            yield stage, float(lost.mean()), roc_auc(hard[asked], lost) if 0 < lost.mean() < 1 else None


def _flipped(records: Records, run: Run, measure: str, wrong: Wrong) -> float:
    easy = ease(measure, MEASURES[measure].of(records))
    return roc_auc(-easy, wrong[np.searchsorted(run.ids, records.ids)])
