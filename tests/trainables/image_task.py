"""The images that tests train on, as a task of the user's own."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from tests.trainables.trials import CPU, DATA
from trainables.data.batches import Resident
from trainables.data.samples import Samples, inputs_of
from trainables.data.splits import Split, Splits, TaskSplits
from trainables.task.classification import cross_entropy
from trainables.task.metrics import accuracy
from trainables.task.task import Task

PLAIN = DATA.model_copy(update={"augment": "none"})  # a task varies its samples itself


def right(logits: Tensor, batch: Any) -> Tensor:
    labels: Tensor = batch[1]
    return logits.argmax(1) == labels


def as_task(images: Splits, **says: Any) -> TaskSplits:
    """Give the same samples in the same order as a task of the user's own."""

    def samples(split: Split) -> Samples:
        normalised = Resident(split, images, CPU).whole()[0]
        found = {number: (normalised[at], split.labels[at]) for at, number in enumerate(split.ids.tolist())}
        return Samples(found, default_collate, split.ids)

    train, val = samples(images.train), samples(images.val)
    task = Task(
        splits={"train": train, "validation": val},
        example=torch.zeros(1, 1, 8, 8),
        loss=cross_entropy,
        metric=accuracy(),
        outputs=10,
        logits=1,
        **says,
    )
    return TaskSplits(train, val, inputs_of(task), task.objective)
