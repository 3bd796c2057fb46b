"""How well cheap numbers of a pruned network foretell the accuracy that its training ends at.

    python -m tests.benchmarks.foretell STUDY

It reads the ended trials of a study, and compares the policies within each cell: the same network, sparsity, criterion,
compensation and recipe. It prints Spearman's rank correlation with the best validation accuracy, and the points that
are lost by taking the policy which the number puts first; both are means over the cells of a sparsity.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.allocation.candidates import candidates
from trainables.allocation.problem import Problem
from trainables.allocation.trained_loss import TrainedLoss
from trainables.artifacts.dense import load_dense, saved_dense
from trainables.data import sources
from trainables.outcome import Outcome
from trainables.pruning.context import PruningContext
from trainables.pruning.criteria import CRITERIA
from trainables.pruning.granularities import view
from trainables.spec import TrialSpec
from trainables.storage.folder import Folder
from trainables.training.calibration import calibration_samples

CPU = torch.device("cpu")
NUMBERS = ("accuracy before training", "loss before training", "loss of a short training")


def problem_of(spec: TrialSpec, storage: Folder) -> Problem:
    """Pose the problem of a trial's policy."""
    dense = saved_dense(storage, spec.dense)
    model, example = load_dense(dense, CPU), dense.architecture.example()
    samples = calibration_samples(sources.load(spec.dense.data), spec.calibration, CPU)
    context = PruningContext(view(model, spec.granularity, example, spec.round_to), spec.seed, samples)
    scores = CRITERIA[spec.criterion](context)
    recalibrated = spec.recalibrate > 0
    return Problem(context, scores, spec.sparsity, spec.budget, recalibrated, spec.compensate, spec.finetune)


def measured(trials: Mapping[str, tuple[TrialRow, Outcome]], storage: Folder) -> dict[str, tuple[float, ...]]:
    """Measure the trials of one cell: policy -> its numbers, the higher the better, and the accuracy at the end."""
    posed = problem_of(next(iter(trials.values()))[1].spec, storage)
    found = {}
    with candidates(replace(posed, densities=None)) as untrained:
        assert posed.training is not None
        trained = TrainedLoss(posed, untrained, posed.training)
        for policy, (row, outcome) in trials.items():
            assert outcome.facts is not None
            keep = np.array([round(outcome.facts.parts[p.name] * p.units) for p in posed.prunable.parts])
            start = row.recalibrated_accuracy if row.compensated_accuracy is None else row.compensated_accuracy
            assert start is not None
            assert row.best_val_accuracy is not None
            found[policy] = (start, -untrained(keep), -trained(keep), row.best_val_accuracy)
    return found


def main() -> None:
    """Print a row for each sparsity, compensation and number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="folder of a study whose trials have ended")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study, storage = StudyFolder.open(arguments.study), Folder.at(str(Path(arguments.study).resolve().parent))
    cells: dict[tuple[str, float, str], dict[str, tuple[TrialRow, Outcome]]] = defaultdict(dict)
    for row in study.rows():
        if row.status == "done" and row.policy != "random":
            (outcome,) = study.read_outcomes([row.trial])
            cells[row.compensation, row.sparsity, row.cell][row.policy] = (row, outcome)
    rows = defaultdict(list)
    for (compensation, sparsity, cell), trials in cells.items():
        *numbers, end = np.array([*measured(trials, storage).values()]).T
        ranks = [spearmanr(number, end).statistic for number in numbers]
        lost = [100 * (end.max() - end[number.argmax()]) for number in numbers]
        rows[compensation, sparsity].append((ranks, lost))
        print(f"# {cell} {compensation or 'not compensated'} {sparsity:g}: {len(trials)} policies", flush=True)
    print(f"{'':18}{'sparsity':>9}{'cells':>6}", *(f"{number:>28}" for number in NUMBERS))
    for (compensation, sparsity), found in sorted(rows.items()):
        ranks, lost = np.array(found).mean(0)
        texts = (f"{rank:.2f}, {points:.1f} points lost" for rank, points in zip(ranks, lost, strict=True))
        print(f"{compensation or 'not compensated':18}{sparsity:9g}{len(found):6}", *(f"{text:>28}" for text in texts))


if __name__ == "__main__":
    main()
