"""How well cheap numbers of a pruned network predict its accuracy after training.

    python -m tests.benchmarks.predictors STUDY

It reads the ended trials of a study, proposals of searches included. It compares the allocations within each cell: the
same network, sparsity, criterion, compensation and recipe. For each number it prints three means over the cells of a
sparsity. "rank" is Spearman's correlation with the best validation accuracy. "first" is the points that are lost by
taking the allocation that the number puts first. "third" is the same for the best of the first third, which a
scheduler's rung keeps.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
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


def measured(trials: Sequence[tuple[TrialRow, Outcome]], storage: Folder) -> list[tuple[float, ...]]:
    """Measure each trial of one cell: its numbers, the higher the better, and the accuracy at the end."""
    posed = problem_of(trials[0][1].spec, storage)
    found: list[tuple[float, ...]] = []
    with candidates(posed) as untrained:
        assert posed.training is not None
        trained = TrainedLoss(posed, untrained, posed.training)
        for row, outcome in trials:
            assert outcome.facts is not None
            keep = np.array([round(outcome.facts.parts[p.name] * p.units) for p in posed.prunable.parts])
            start = row.recalibrated_accuracy if row.compensated_accuracy is None else row.compensated_accuracy
            assert start is not None
            assert row.best_val_accuracy is not None
            found.append((start, -untrained(keep), -trained(keep), row.best_val_accuracy))
    return found


def main() -> None:
    """Print a row for each sparsity, compensation and number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="folder of a study whose trials have ended")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    study, storage = StudyFolder.open(arguments.study), Folder.at(str(Path(arguments.study).resolve().parent))
    cells: dict[tuple[str, float, str], list[tuple[TrialRow, Outcome]]] = defaultdict(list)
    for row in study.rows():
        if row.status == "done":
            (outcome,) = study.read_outcomes([row.trial])
            cells[row.compensation, row.sparsity, row.cell].append((row, outcome))
    rows = defaultdict(list)
    for (compensation, sparsity, cell), trials in cells.items():
        *numbers, end = np.array(measured(trials, storage)).T
        third = -(-len(end) // 3)
        ranks = [spearmanr(number, end).statistic for number in numbers]
        lost = [
            100 * (end.max() - end[number.argsort()[::-1][:kept]].max()) for kept in (1, third) for number in numbers
        ]
        rows[compensation, sparsity].append([*ranks, *lost])
        print(f"# {cell} {compensation or 'not compensated'} {sparsity:g}: {len(trials)} allocations", flush=True)
    print(f"{'':18}{'sparsity':>9}{'cells':>6}", *(f"{number:>26}" for number in NUMBERS))
    print(f"{'':33}", *(f"{'rank  first  third':>26}" for _ in NUMBERS))
    for (compensation, sparsity), found in sorted(rows.items()):
        by_number = np.array(found).mean(0).reshape(3, -1).T  # (numbers, kinds)
        texts = (f"{rank:.2f}  {first:5.1f}  {best:5.1f}" for rank, first, best in by_number)
        print(f"{compensation or 'not compensated':18}{sparsity:9g}{len(found):6}", *(f"{text:>26}" for text in texts))


if __name__ == "__main__":
    main()
