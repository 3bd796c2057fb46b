"""Finds what pruning forgets: samples that the dense network has right and the pruned network has wrong."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.comparison.estimates import Estimate
from search.results.folder import StudyFolder
from search.results.names import pruning_name, training_name
from search.results.rows import TrialRow
from search.results.scale import rank
from search.samples.runs import Run, ease
from search.study.cells import cell_key
from search.study.spec import StudySpec
from trainables.frozen import Frozen
from trainables.learnability.detection import roc_auc
from trainables.learnability.measures import MEASURES
from trainables.learnability.records import Records, read_records
from trainables.training.recorder import SAMPLES

Stage = Literal["before recovery", "after recovery"]
STAGES: tuple[Stage, ...] = ("before recovery", "after recovery")
Wrong = NDArray[np.bool_]


class Treatment(NamedTuple):
    """The settings that trials share when their seeds are averaged."""

    network: str
    treatment: str
    policy: str
    sparsity: float

    @classmethod
    def of(cls, row: TrialRow) -> "Treatment":
        """Name the treatment of a trial's network."""
        return cls(row.model, f"{pruning_name(row)}, {training_name(row)}", row.policy, row.sparsity)


class Forgotten(Frozen):
    """Samples that dense networks had right in their last epoch and the networks pruned from them have wrong."""

    network: str
    treatment: str
    policy: str
    sparsity: float
    stage: Stage
    share: Estimate  # of the samples that the dense network had right
    auc: Estimate | None  # chance that a forgotten sample had lower learnability than a kept one; None as in `Loss`


class Loss(NamedTuple):
    """The samples that one network forgot at one stage."""

    share: float  # of the samples that the dense network had right
    auc: float | None  # of low learnability as a sign of being forgotten; None if no sample is forgotten, or all are


class FoundAgain(Frozen):
    """How well a measure from the recovery of pruned networks finds flipped labels."""

    network: str
    treatment: str
    policy: str
    sparsity: float
    measure: str
    auc: Estimate


def forgotten(
    study: StudySpec, folder: StudyFolder, runs: Sequence[Run], wrong: Wrong | None
) -> tuple[list[Forgotten], list[FoundAgain]]:
    """Judge the finished trials of a study that recorded their samples. A search counts with each seed's best trial.

    runs: of the study's dense networks. wrong: (N,), whether a label was flipped; None if no label was flipped.
    """
    dense = {run.spec: run for run in runs}
    cells = {cell_key(cell): dense[cell.dense] for cell in study.cells() if cell.dense in dense}
    forgotten_rows, found_again = [], []
    recorded = _recorded(folder, cells)
    for treatment, rows in sorted(recorded.items(), key=lambda each: (study.models.index(each[0].network), each[0])):
        settings = treatment._asdict()
        pairs = [(read_records(folder.trial(row.trial)), cells[row.cell]) for row in rows]
        losses: dict[Stage, list[Loss]] = {}
        for records, run in pairs:
            for stage, loss in _losses(records, run).items():
                losses.setdefault(stage, []).append(loss)
        for stage, each in losses.items():
            aucs = [loss.auc for loss in each if loss.auc is not None]
            share = Estimate.of([loss.share for loss in each])
            auc = Estimate.of(aucs) if aucs else None
            forgotten_rows.append(Forgotten(**settings, stage=stage, share=share, auc=auc))
        if wrong is not None:
            for measure in MEASURES:
                aucs = [_flipped(records, run, measure, wrong) for records, run in pairs]
                found_again.append(FoundAgain(**settings, measure=measure, auc=Estimate.of(aucs)))
    return forgotten_rows, found_again


def _recorded(folder: StudyFolder, cells: Mapping[str, Run]) -> dict[Treatment, list[TrialRow]]:
    """Find the best recorded trial of each treatment and seed."""
    best: dict[tuple[Treatment, int], TrialRow] = {}
    for row in folder.rows():
        if row.status == "done" and row.cell in cells and folder.trial(row.trial).has(SAMPLES):
            key = Treatment.of(row), row.seed
            if key not in best or rank(row) > rank(best[key]):
                best[key] = row
    by_treatment: dict[Treatment, list[TrialRow]] = {}
    for (treatment, _), row in sorted(best.items(), key=lambda each: each[0]):
        by_treatment.setdefault(treatment, []).append(row)
    return by_treatment


def _losses(records: Records, run: Run) -> dict[Stage, Loss]:
    """Compute what a pruned network forgot at each recorded stage."""
    positions = np.searchsorted(run.ids, records.ids)
    hard = -run.ease("learnability")[positions]
    stages: dict[Stage, int] = {"before recovery": 0} if records.epochs[0] == 0 else {}
    if records.epochs[-1] > 0:
        stages["after recovery"] = -1
    losses: dict[Stage, Loss] = {}
    for stage, epoch in stages.items():
        known = run.right[positions] & records.seen[epoch]
        missed = ~records.right[epoch][known]
        if len(missed):
            losses[stage] = Loss(float(missed.mean()), roc_auc(hard[known], missed) if 0 < missed.mean() < 1 else None)
    return losses


def _flipped(records: Records, run: Run, measure: str, wrong: Wrong) -> float:
    easy = ease(measure, MEASURES[measure].of(records))
    return roc_auc(-easy, wrong[np.searchsorted(run.ids, records.ids)])
