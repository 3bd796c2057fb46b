"""How much of an epoch it takes to collate the samples of a task: four example tasks, on one core.

python -m tests.benchmarks.collating
"""

import time

import torch

from tests.tasks import scenes, series, table, text
from trainables.data import samples
from trainables.data.batches import train_batches
from trainables.data.collated import on_device
from trainables.data.splits import TaskSplits
from trainables.recipe import Recipe
from trainables.training.train import TrainingPlan, train

CPU = torch.device("cpu")
TASKS = {
    "text": (text.docstrings, text.gpt),
    "scenes": (scenes.segmentation, scenes.unet),
    "series": (series.rows, series.convolutions),
    "table": (table.diabetes, table.mlp),
}
BATCH, ROUNDS = 32, 3


def main() -> None:
    """Print the least CPU time of collating all samples once, and of a training epoch, with its share."""
    torch.set_num_threads(1)
    for name, (build, model_of) in TASKS.items():
        task = build()
        train_split, val = (samples.samples_of(task, role, 0, None) for role in ("train", "val"))
        splits = TaskSplits(train_split, val, samples.inputs_of(task), task.objective)
        data = on_device(splits.train, splits, CPU)
        collating, training = [], []
        for _ in range(ROUNDS):
            started = time.process_time()
            for _batch in train_batches(data, BATCH, "none", 0):
                pass
            collating.append(time.process_time() - started)
        epochs = train(model_of(splits.inputs.classes, splits.inputs.image[0]), data, _plan())
        started = time.process_time()
        for _loss in epochs:
            training.append(time.process_time() - started)
            started = time.process_time()
        least, epoch = min(collating), min(training)
        print(
            f"{name}: {len(train_split):,} samples, collated in {1000 * least:.1f} ms, trained in "
            f"{1000 * epoch:.1f} ms: {100 * least / epoch:.1f} %"
        )


def _plan() -> TrainingPlan:
    return TrainingPlan(Recipe(epochs=ROUNDS, batch_size=BATCH, lr=1e-3, optimizer="adamw"))


if __name__ == "__main__":
    main()
