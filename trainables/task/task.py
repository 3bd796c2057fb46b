"""A task of the user's own: the data, and what a network is trained for on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate

from trainables.arguments import Arguments
from trainables.task import classification
from trainables.task.distance import Distance, Divergence
from trainables.task.metric import Metric
from trainables.task.objective import Hits, Labels, Losses, Objective

SPLITS = {"train": "train", "validation": "val", "test": "test"}  # names in a Task -> roles


def first(batch: Any) -> Tensor:
    """Return the first part of a batch."""
    inputs: Tensor = batch[0]
    return inputs


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a function that a study names as its `task` returns.

    A batch is what `collate` makes of some samples: a tensor, or tuples, lists and dictionaries of tensors. The first
    axis of each tensor holds the samples. A model is called with one tensor, model(x), with a tuple or list of them,
    model(*x), or with a dictionary of them, model(**x).

    `hits` tell for each sample whether the outputs are right (bool), or which share of its predictions, such as pixels
    or tokens, is right (float, from 0 to 1). Records keep the share. Where a yes or a no is needed, a sample is right
    if half of its predictions are. `labels` say the same of classifiers, and more: a sample is right if its label has
    the largest logit. So a Task has one of the two, or none.
    """

    splits: Mapping[str, Any]  # "train", "validation" and perhaps "test" -> a map-style data set of samples
    example: Arguments  # (1, ...), one input of the model, as `inputs` returns it; only shapes and types count
    loss: Losses  # outputs and batch -> the loss of each sample (B,), or their mean
    metric: Metric  # what judges a network
    other_metrics: Sequence[Metric] = ()  # what results show, too
    outputs: int = 1  # what the function of a model gets as num_classes
    logits: int | None = None  # the axis of the classes where outputs are logits; None: they are no logits
    inputs: Callable[[Any], Arguments] = first  # batch -> what the model is called with, (B, ...)
    collate: Callable[[list[Any]], Any] = default_collate  # samples -> a batch
    distance: Callable[[Tensor, Tensor], Tensor] | None = None  # dense outputs and outputs -> (B,); None: see below
    hits: Hits | None = None  # outputs and batch -> what is right of each sample (B,), as below; None: nothing says
    labels: Labels | None = None  # batch -> classes (B,) int64, where outputs are logits (B, classes), logits=1

    @property
    def objective(self) -> Objective:
        """What training and evaluation read.

        Outputs are compared with the dense network's by `distance`, by default the Kullback-Leibler divergence of
        logits and the mean squared difference of anything else.
        """
        hits = self.hits if self.labels is None else partial(classification.hits, labels=self.labels)
        others = tuple(self.other_metrics)
        return Objective(self.loss, self.metric, self._distance, self.inputs, others, hits=hits, labels=self.labels)

    @property
    def _distance(self) -> Distance:
        if self.distance is not None:
            return Distance(self.distance)
        return Distance() if self.logits is None else Divergence(axis=self.logits)
