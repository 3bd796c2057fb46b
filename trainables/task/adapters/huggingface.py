"""A Task of data sets whose samples a collator of transformers turns into batches. Imports nothing of transformers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from trainables.task.metric import Metric
from trainables.task.metrics import accuracy, perplexity, r2
from trainables.task.task import Task

LABELS = "labels"  # what collators call what a model should answer
IGNORED = -100  # the class of positions without a label

Batch = Mapping[str, Tensor]


def task_of(
    splits: Mapping[str, Any],
    collator: Callable[[list[Any]], Batch],
    outputs: int,
    metric: Metric | None = None,
    causal: bool = False,
) -> Task:
    """Make a Task. The model is called with all of a batch but its labels: model(**inputs).

    The loss is that of the model's class: the cross-entropy of labels, or the squared error of labels that are no whole
    numbers. Labels of -100 do not count. A sample with several labels has the mean of their losses, so a short sample
    counts as much as a long one.

    Args:
        splits: as a Task has them; samples are dictionaries.
        collator: samples -> a batch with "labels" (B,) or (B, T), such as DataCollatorWithPadding,
            default_data_collator or DataCollatorForLanguageModeling(mlm=False). Draw random masks in the data set,
            not in it: the same samples must give the same batch.
        outputs: number of classes, or of words; 1 for labels that are no whole numbers.
        metric: by default accuracy for one label a sample, perplexity for several, and R2 for labels that are no whole
            numbers.
        causal: whether the outputs at each position predict the label of the next one, as in a causal language model.

    Raises:
        ValueError: the collator gives no dictionary with labels.
    """
    first = collator([splits["train"][0]])
    if not isinstance(first, Mapping) or not isinstance(first.get(LABELS), Tensor):
        found = f"a dictionary of {', '.join(map(str, first))}" if isinstance(first, Mapping) else type(first).__name__
        raise ValueError(
            f"collator must return a dictionary with a tensor {LABELS!r}, but returned {found}; give samples the key "
            "'label' or 'labels', or another collator"
        )
    exact, single = first[LABELS].is_floating_point(), first[LABELS].dim() == 1

    def wanted(batch: Batch) -> Tensor:
        return batch[LABELS][:, 1:] if causal else batch[LABELS]

    def predicted(logits: Tensor) -> Tensor:
        return logits[:, :-1] if causal else logits

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        labels = wanted(batch)
        if exact:
            return (logits.reshape(labels.shape) - labels).square().reshape(len(labels), -1).mean(1)
        losses = F.cross_entropy(predicted(logits).movedim(-1, 1), labels, reduction="none", ignore_index=IGNORED)
        counted = (labels != IGNORED).reshape(len(labels), -1).sum(1)
        return losses.reshape(len(labels), -1).sum(1) / counted.clamp(min=1)

    usual = r2(wanted) if exact else (accuracy if single else perplexity)(wanted, axis=-1)
    return Task(
        splits=splits,
        example=inputs_of(first),
        loss=loss,
        metric=metric or replace(usual, sums=lambda logits, batch: usual.sums(predicted(logits), batch)),
        outputs=outputs,
        logits=None if exact else 1 if single else -1,
        inputs=inputs_of,
        collate=collator,
        labels=wanted if single and not exact else None,
    )


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """Return all of a batch but its labels."""
    return {name: tensor for name, tensor in batch.items() if name != LABELS}
