"""What the first rung of a scheduler saves: by accuracy before training, by the promise, and without a rung.

    python -m tests.benchmarks.rungs STUDY

STUDY has a search that ran without a scheduler and drew its proposals at random (`search.sampler=random`), so that each
trial has all its epochs. Ray's own scheduler `asha` then reads the epochs of these trials in many random orders, one
trial after the other. For each sparsity, and compensated or not, the script prints means over networks and orders: the
epochs that are trained, the points that the best trained-out trial is behind the best of all trials, and the epochs
that trials without a scheduler need for the same.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from search.methods.schedulers import asha, per_search
from search.results.folder import StudyFolder
from trainables.data import sources
from trainables.outcome import Outcome
from trainables.spec import EpochReport
from trainables.storage.folder import Folder
from trainables.task_spec import MetricSpec
from trainables.trial.reports import to_tune
from trainables.trial.trainable import run_trial

CPU = torch.device("cpu")
ORDERS = 300
SEARCH = "searched"
GOALS = ("best_val_accuracy",)


@dataclass(frozen=True, eq=False)
class Fed:
    """The part of a Tune trial that a scheduler reads."""

    trial_id: str
    status: str = "RUNNING"


def with_promise(outcome: Outcome, storage: Folder) -> tuple[EpochReport, ...]:
    """Run a trial again up to epoch 0, as under a scheduler, and give its history the promise."""
    with tempfile.TemporaryDirectory() as folder:
        splits = sources.load(outcome.spec.dense.data)
        first = next(run_trial(outcome.spec, splits, storage, Folder.at(folder), CPU, judged=True))
    assert first.val_accuracy == outcome.history[0].val_accuracy
    return (outcome.history[0].model_copy(update={"promise": first.promise}), *outcome.history[1:])


def halved(histories: Sequence[Sequence[EpochReport]], order: Sequence[int]) -> tuple[int, float]:
    """Let asha read trials one after the other. Return the epochs that are trained, and the best final accuracy."""
    scheduler: Any = per_search(lambda: asha(GOALS), lambda _: SEARCH, lambda _: 0, lambda _: {}, MetricSpec())
    epochs, best = 0, 0.0
    for number in order:
        trial = Fed(str(number))
        scheduler.on_trial_add(None, trial)
        for report in histories[number]:
            result = to_tune(report)
            epochs += report.epoch > 0
            stops = scheduler.on_trial_result(None, trial, result) == "STOP"
            if stops or report.final:
                scheduler.on_trial_complete(None, trial, result)
            if stops:
                break
        else:
            best = max(best, max(report.val_accuracy for report in histories[number]))
    return epochs, best


def epochs_without(finals: np.ndarray[Any, np.dtype[np.float64]], length: int, accuracy: float) -> float:
    """Return the epochs of whole trials, drawn at random, whose best one is expected to reach an accuracy."""
    ranked, count = np.sort(finals), len(finals)
    drawn = np.arange(1, count + 1)
    below = np.cumprod((np.arange(1, count + 1)[:, None] - np.arange(count)) / (count - np.arange(count)), axis=1)
    below = np.clip(below, 0.0, 1.0)  # (rank, drawn): the chance that all drawn trials rank no higher
    expected = (np.diff(below, axis=0, prepend=0.0) * ranked[:, None]).sum(0)
    return float(np.interp(accuracy, expected, drawn * length))


def main(path: str) -> None:
    """Print a table."""
    folder, storage = StudyFolder.open(path), Folder.at(str(Path(path).parent))
    cells = defaultdict[tuple[float, bool], dict[int, list[Outcome]]](lambda: defaultdict(list))
    for row in folder.rows():
        outcome = folder.outcome(row.trial)
        if row.policy == "searched" and outcome is not None and outcome.status == "done":
            spec = outcome.spec
            cells[spec.sparsity, spec.compensate][spec.seed].append(outcome)
    print("| sparsity | compensated | rung 0 by | epochs of all | points behind | epochs without a scheduler |")
    print("|---|---|---|---|---|---|")
    for (sparsity, compensated), of_seed in sorted(cells.items()):
        table = defaultdict[str, list[tuple[float, float, float]]](list)
        for outcomes in of_seed.values():
            promised = [with_promise(outcome, storage) for outcome in outcomes]
            by_accuracy = [(h[0].model_copy(update={"promise": h[0].val_accuracy}), *h[1:]) for h in promised]
            none = [(h[0].model_copy(update={"promise": None}), *h[1:]) for h in promised]
            length = len(promised[0]) - 1
            finals = np.array([max(report.val_accuracy for report in history) for history in promised])
            random = np.random.default_rng(0)
            orders = [random.permutation(len(promised)).tolist() for _ in range(ORDERS)]
            for name, histories in (("the promise", promised), ("accuracy", by_accuracy), ("no rung", none)):
                epochs, best = np.array([halved(histories, order) for order in orders]).mean(0)
                whole = epochs_without(finals, length, best)
                table[name].append((epochs / (length * len(promised)), 100 * (finals.max() - best), whole / epochs))
        for name, numbers in table.items():
            share, behind, saved = np.mean(numbers, axis=0)
            cell = f"| {sparsity:g} | {'yes' if compensated else 'no'} | {name}"
            print(f"{cell} | {share:.0%} | {behind:.2f} | x {saved:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="folder of a study")
    main(parser.parse_args().study)
