"""What a competent user writes without Ray: Optuna's grid over one process a core, torch's pruning."""

import os
import sys
from multiprocessing import get_context
from typing import Any

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.benchmarks.plain_trial import finetune


def work(inputs: str, out: str, number: int) -> None:
    """Run trials until the grid has been tried, and write the state of each epoch."""
    torch.set_num_threads(1)
    given = torch.load(inputs, weights_only=False)

    def objective(trial: optuna.Trial) -> float:
        config: dict[str, Any] = {name: trial.suggest_categorical(name, values) for name, values in grid.items()}
        best = 0.0
        for metrics, state in finetune(config, given):
            torch.save(state, f"{out}/{number}-{trial.number}.pt")
            trial.report(metrics["val_accuracy"], int(metrics["epoch"]))
            best = max(best, metrics["val_accuracy"])
        return best

    grid = given["grid"]
    storage = JournalStorage(JournalFileBackend(f"{out}/optuna.journal"))
    sampler = optuna.samplers.GridSampler(grid, seed=0)
    study = optuna.create_study(
        storage=storage, study_name="plain", direction="maximize", sampler=sampler, load_if_exists=True
    )
    study.optimize(objective)  # the sampler ends it


def main(inputs: str, out: str) -> None:
    """Run every trial of `inputs`, a file that `tests.benchmarks.engine` saves, and write results under `out`."""
    context = get_context("spawn")
    workers = [context.Process(target=work, args=(inputs, out, number)) for number in range(os.cpu_count() or 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
