"""What is wrong with a task, found before anything runs: one sentence that names the field."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.arguments import Arguments, flat, is_arguments, named_tensors
from trainables.task.complaint import called, described, shape_of, wrong
from trainables.task.metric import Metric
from trainables.task.task import SPLITS, Task

DTYPES = (torch.float32, torch.int64, torch.int32, torch.bool)  # of inputs
STRUCTURE = "a tensor, or a tuple, list or dictionary of tensors"  # that a model is called with
SAMPLES = 4  # in the batch that tries a task
FUNCTIONS = {"loss": 2, "inputs": 1, "collate": 1, "distance": 2, "hits": 2, "labels": 1}  # fields -> arguments
OPTIONAL = ("distance", "hits", "labels")


def refuse_wrong(name: str, task: Task) -> None:
    """Raise ValueError for a field of a wrong type, an empty split, and samples that do not become a batch.

    It reads the first samples of each split.
    """
    _refuse_types(name, task)
    _refuse_splits(name, task)
    for split in task.splits:
        for size in {1, min(SAMPLES, len(task.splits[split]))}:
            one, other = (_tensors(name, batch_of(name, task, split, size)) for _ in range(2))
            if not all(map(_same, one, other)):
                rule = "give the same batch for the same samples"
                raise wrong(name, "collate", rule, "two that differ; draw no random numbers in it or in the data set")


def _refuse_types(name: str, task: Task) -> None:
    for field, arguments in FUNCTIONS.items():
        value = getattr(task, field)
        if value is None and field in OPTIONAL:
            continue
        if not callable(value):
            raise wrong(name, field, "be a function", value)
        try:
            inspect.signature(value).bind(*range(arguments))
        except TypeError as error:
            raise wrong(
                name, field, f"take {arguments} positional arguments", f"a function for which {error}"
            ) from None
        except ValueError:  # a function of C has no signature
            pass
    _refuse_metrics(name, task)
    _refuse_example(name, task.example)
    if task.hits is not None and task.labels is not None:
        raise wrong(name, "hits", "be left out where the Task has labels, which say what is right", task.hits)
    for field, least in (("outputs", 1), ("logits", None)):
        value = getattr(task, field)
        if value is None and field == "logits":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            raise wrong(name, field, "be a whole number" + (" above 0" if least else ", or None"), value)


def metrics_of(task: Task) -> dict[str, Metric]:
    """Return the metrics of a task by their fields."""
    return {"metric": task.metric} | {f"other_metrics[{n}]": metric for n, metric in enumerate(task.other_metrics)}


def _refuse_metrics(name: str, task: Task) -> None:
    if not isinstance(task.other_metrics, tuple | list):
        raise wrong(name, "other_metrics", "be a list of metrics", task.other_metrics)
    taken = {"loss"}  # names that results have
    for field, metric in metrics_of(task).items():
        if not isinstance(metric, Metric):
            raise wrong(name, field, "be a Metric", metric)
        for part in ("sums", "value"):
            if not callable(getattr(metric, part)):
                raise wrong(name, f"{field}.{part}", "be a function", getattr(metric, part))
        try:
            spec = metric.spec
        except ValueError:
            raise wrong(name, f"{field}.name", "be a lower-case word of at most 32 characters", metric.name) from None
        if spec.name == "accuracy" and not spec.higher_is_better:
            raise wrong(name, f"{field}.higher_is_better", "be true for accuracy", False)
        if spec.name in taken:
            raise wrong(name, f"{field}.name", "be a name of its own, and not loss", spec.name)
        taken.add(spec.name)


def _refuse_example(name: str, example: Any) -> None:
    if not is_arguments(example) or any(not of.dim() or len(of) != 1 for of in flat(example)):
        raise wrong(name, "example", f"be {STRUCTURE} (1, ...) of one input", example)
    if flat(example)[0].dim() < 2:
        raise wrong(name, "example", "have a second axis in its first tensor", example)
    for tensor in flat(example):
        if tensor.dtype not in DTYPES:
            raise wrong(name, "example", f"have type {' or '.join(map(str, DTYPES))}", tensor.dtype)


def _refuse_splits(name: str, task: Task) -> None:
    if not isinstance(task.splits, Mapping):
        raise wrong(name, "splits", "be a dictionary of data sets", task.splits)
    for split in ("train", "validation"):
        if split not in task.splits:
            raise wrong(name, "splits", f"have {split!r}", f"only {sorted(map(str, task.splits))}")
    for split, data in task.splits.items():
        if split not in SPLITS:
            raise wrong(name, "splits", f"be named {', '.join(map(repr, SPLITS))}", split)
        if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
            raise wrong(name, f"splits[{split!r}]", "be a map-style data set, with len() and [item]", data)
        if not len(data):
            raise wrong(name, f"splits[{split!r}]", "hold a sample", "none")


def batch_of(name: str, task: Task, split: str, size: int) -> Any:
    """Collate the first samples of a split. Raises ValueError where the result is no batch of so many samples."""
    samples = []
    for item in range(size):
        samples.append(called(name, f"splits[{split!r}]", task.splits[split].__getitem__, item))
    batch = called(name, "collate", task.collate, samples)
    for tensor in _tensors(name, batch):
        if not tensor.dim() or len(tensor) != size:
            rule = f"return tensors whose first axis is the {size} samples"
            raise wrong(name, "collate", rule, f"a tensor {shape_of(tensor)}")
    inputs = called(name, "inputs", task.inputs, batch)
    if not is_arguments(inputs) or any(not of.dim() or len(of) != size for of in flat(inputs)):
        raise wrong(name, "inputs", f"return {STRUCTURE} ({size}, ...)", inputs)
    if _form(inputs) != _form(task.example):
        rule = f"have the tensors, the numbers of axes and the types of the inputs, {described(inputs)}"
        raise wrong(name, "example", rule, described(task.example))
    return batch


def _form(inputs: Arguments) -> list[tuple[str, int, torch.dtype]]:
    """List name, number of axes and type of each tensor. The order of names does not matter."""
    form = [(name, tensor.dim(), tensor.dtype) for name, tensor in named_tensors(inputs)]
    return sorted(form, key=lambda each: each[0])


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one != one)).all())


def _tensors(name: str, value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(parts, tuple | list) or not parts:
        raise wrong(name, "collate", "return a tensor, or tuples, lists and dictionaries of tensors", value)
    return [tensor for part in parts for tensor in _tensors(name, part)]
