"""Each field of a Task wrong in turn ends in one sentence that names it, before anything runs."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from trainables.data import samples
from trainables.task.check import STRUCTURE, refuse_wrong
from trainables.task.fit_check import refuse_unfit
from trainables.task.metric import Metric, ratio
from trainables.task.metrics import accuracy, mean_squared_error, r2
from trainables.task.task import Task

X, Y = torch.linspace(-1, 1, 60).view(20, 3), torch.linspace(0, 1, 20)
DATA, NOTHING = TensorDataset(X, Y), TensorDataset(X[:0], Y[:0])


def squared(outputs: Tensor, batch: Any) -> Tensor:
    errors: Tensor = outputs[:, 0] - batch[1]
    return errors.square()


RIGHT = Task(splits={"train": DATA, "validation": DATA}, example=torch.zeros(1, 3), loss=squared, metric=r2())


def model(module: type[nn.Module] = nn.Linear) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), module(4, 1))


def check(task: Task, network: nn.Module) -> None:
    refuse_wrong("pkg:task", task)
    refuse_unfit("pkg:task", task, network, "pkg:model")


def complaint_of(task: Task, network: nn.Module | None = None) -> str:
    with pytest.raises(ValueError, match="must") as raised:
        check(task, network or model())
    text = str(raised.value)
    assert "\n" not in text
    return text


class Failing(TensorDataset):
    """A data set whose seventh item cannot be read."""

    def __getitem__(self, item: int) -> Any:
        if item == 7:
            raise OSError("broken disk")
        return self.tensors[0][item], self.tensors[1][item]


class Restless(TensorDataset):
    """A data set that draws its samples anew each time."""

    def __getitem__(self, item: int) -> Any:
        return torch.rand(3), self.tensors[1][item]


class InDictionary(nn.Linear):
    """A layer that returns a dictionary."""

    def forward(self, input: Tensor) -> Any:
        return {"logits": super().forward(input)}


def nan_loss(outputs: Tensor, batch: Any) -> Tensor:
    return squared(outputs, batch) * torch.nan


def hit(outputs: Tensor, batch: Any) -> Tensor:
    return squared(outputs, batch) < 0.01


def chosen(batch: Any) -> Tensor:
    return torch.zeros(len(batch[0]), dtype=torch.int64)


def metric(sums: Any, value: Any = ratio, name: str = "own") -> Metric:
    return Metric(name, sums, value)


def test_a_right_task_passes() -> None:
    check(RIGHT, model())
    check(replace(RIGHT, other_metrics=[mean_squared_error()]), model())
    for change in ({"hits": hit}, {"hits": lambda o, b: o[:, 0].sigmoid()}, {"labels": chosen, "logits": 1}):
        check(replace(RIGHT, **change), model())
    assert len(samples.checksum(RIGHT)) == 32


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"splits": [DATA]}, "splits", "be a dictionary of data sets"),
        ({"splits": {"train": DATA}}, "splits", "have 'validation'"),
        ({"splits": {"train": DATA, "validation": DATA, "dev": DATA}}, "splits", "got dev"),
        ({"splits": {"train": DATA, "validation": iter(DATA)}}, "splits['validation']", "be a map-style data set"),
        (
            {"splits": {"train": DATA, "validation": TensorDataset(X[:0], Y[:0])}},
            "splits['validation']",
            "hold a sample",
        ),
        ({"example": X[:2]}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": [0.0]}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": []}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": {}}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": [X[:1], X[:2]]}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": [[X[:1]]]}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": {"a-b": X[:1]}}, "example", f"be {STRUCTURE} (1, ...) of one input"),
        ({"example": torch.zeros(1)}, "example", "have a second axis in its first tensor"),
        ({"example": torch.zeros(1, 3, dtype=torch.float64)}, "example", "have type"),
        (
            {"example": torch.zeros(1, 3, 3)},
            "example",
            "have the tensors, the numbers of axes and the types of the inputs, (1, 3) of torch.float32",
        ),
        ({"loss": 3}, "loss", "be a function"),
        ({"loss": lambda outputs: outputs}, "loss", "take 2 positional arguments"),
        ({"loss": nan_loss}, "loss", "be finite"),
        ({"loss": lambda o, b: squared(o, b).detach()}, "loss", "have a gradient"),
        ({"loss": lambda o, b: squared(o, b)[:1]}, "loss", "return the losses of 4 samples (4,), or their mean"),
        ({"loss": lambda o, b: o[7]}, "loss", "must run, but failed with IndexError"),
        ({"loss": lambda o, b: squared(o, b).std()}, "loss", "be finite"),  # of a batch of one it is NaN
        ({"metric": "r2"}, "metric", "be a Metric"),
        ({"metric": Metric("R 2", r2().sums)}, "metric.name", "be a lower-case word"),
        ({"metric": replace(accuracy(), higher_is_better=False)}, "metric.higher_is_better", "be true for accuracy"),
        ({"metric": metric(lambda o, b: o.sum())}, "metric.sums", "return a tensor (sums,)"),
        ({"metric": metric(lambda o, b: o.square().mean(0))}, "metric.sums", "add up over batches"),
        ({"metric": metric(lambda o, b: b[2])}, "metric.sums", "must run, but failed with IndexError"),
        ({"metric": metric(lambda o, b: o.sum(0), lambda t: float("nan"))}, "metric.value", "return a finite number"),
        ({"metric": metric(lambda o, b: o.sum(0), lambda t: t)}, "metric.value", "return a finite number"),
        ({"metric": metric(lambda o, b: o.sum(0), lambda t: 93.0, "accuracy")}, "metric.value", "be a fraction"),
        ({"other_metrics": r2()}, "other_metrics", "be a list of metrics"),
        ({"other_metrics": ["r2"]}, "other_metrics[0]", "be a Metric"),
        ({"other_metrics": [accuracy(), r2()]}, "other_metrics[1].name", "be a name of its own, and not loss"),
        ({"other_metrics": [metric(lambda o, b: o.sum(0), name="loss")]}, "other_metrics[0].name", "be a name of its"),
        ({"other_metrics": [metric(lambda o, b: o.sum())]}, "other_metrics[0].sums", "return a tensor (sums,)"),
        ({"other_metrics": [metric(lambda o, b: o.sum(0), lambda t: t)]}, "other_metrics[0].value", "return a finite"),
        ({"outputs": 0}, "outputs", "be a whole number above 0"),
        ({"logits": 1.5}, "logits", "be a whole number, or None"),
        ({"logits": 2}, "logits", "be an axis of the outputs (4, 1)"),
        ({"inputs": 0}, "inputs", "be a function"),
        ({"inputs": lambda batch: batch[0].sum()}, "inputs", f"return {STRUCTURE} (1, ...)"),
        ({"inputs": lambda batch: {"x": batch[0], "y": 3}}, "inputs", f"return {STRUCTURE} (1, ...)"),
        ({"inputs": lambda batch: (batch[0], batch[0].T)}, "inputs", f"return {STRUCTURE} (1, ...)"),
        (
            {"inputs": lambda batch: batch},
            "example",
            "the inputs, (1, 3) of torch.float32, (1,) of torch.float32, but got (1, 3) of torch.float32",
        ),
        (
            {"inputs": lambda batch: {"input": batch[0]}, "example": {"x": X[:1]}},
            "example",
            "the inputs, input (1, 3) of torch.float32, but got x (1, 3) of torch.float32",
        ),
        ({"collate": None}, "collate", "be a function"),
        (
            {"collate": lambda s: torch.stack([x for x, _ in s]).T},
            "collate",
            "return tensors whose first axis is the 1",
        ),
        ({"collate": lambda s: [x for x, _ in s] * 3}, "collate", "return tensors whose first axis"),
        ({"collate": lambda s: "batch"}, "collate", "return a tensor, or tuples, lists and dictionaries of tensors"),
        ({"hits": True}, "hits", "be a function"),
        ({"hits": lambda outputs: outputs}, "hits", "take 2 positional arguments"),
        ({"hits": lambda o, b: o[:, 0].abs() < 9.0 if len(o) > 1 else True}, "hits", "of each of 1 samples (1,)"),
        ({"hits": lambda o, b: (o > 0).float()}, "hits", "return what is right of each of 4 samples (4,)"),
        ({"hits": lambda o, b: (o > 0).any()}, "hits", "return what is right of each of 4 samples (4,)"),
        ({"hits": lambda o, b: (o[:, 0] > 0).long()}, "hits", "be true or false, or shares as floats"),
        ({"hits": lambda o, b: 100 * torch.ones(len(o))}, "hits", "be shares from 0 to 1"),
        ({"hits": lambda o, b: torch.full((len(o),), torch.nan)}, "hits", "be shares from 0 to 1"),
        ({"hits": lambda o, b: b[7]}, "hits", "must run, but failed with IndexError"),
        ({"hits": hit, "labels": chosen}, "hits", "be left out where the Task has labels"),
        ({"labels": 1}, "labels", "be a function"),
        ({"labels": chosen}, "labels", "go with outputs that are logits (samples, classes) and with logits=1"),
        ({"labels": lambda batch: batch[1], "logits": 1}, "labels", "return the classes of 4 samples (4,) as int64"),
        ({"labels": lambda batch: chosen(batch)[:1], "logits": 1}, "labels", "return the classes of 4 samples (4,)"),
        ({"labels": lambda batch: chosen(batch) + 1, "logits": 1}, "labels", "be classes from 0 to 0"),
        (
            {"collate": lambda s: [torch.rand(len(s), 3), torch.zeros(len(s))]},
            "collate",
            "give the same batch for the same samples, but got two that differ",
        ),
        ({"distance": 1.0}, "distance", "be a function"),
        ({"distance": lambda d, o: (d - o).square().mean()}, "distance", "give a finite distance of each of 4 samples"),
        ({"distance": lambda d, o: o[:, 9]}, "distance", "must run, but failed with IndexError"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str, says: str) -> None:
    text = complaint_of(replace(RIGHT, **change))
    assert text.startswith(f"{field} of task 'pkg:task' must"), text
    assert says in text


def test_a_model_that_returns_a_dictionary_or_does_not_fit_is_named() -> None:
    assert complaint_of(RIGHT, model(InDictionary)) == (
        "pkg:model must return one tensor, which the Task's loss and metric get as outputs, but returned a dict in "
        "training mode; return the tensor alone"
    )
    named = replace(RIGHT, inputs=lambda batch: {"z": batch[0]}, example={"z": X[:1]})
    text = complaint_of(named, nn.Linear(3, 1))
    assert "pkg:model must run on the inputs of the task, z (4, 3) of torch.float32 in training mode, but" in text
    text = complaint_of(RIGHT, nn.Linear(5, 1))
    assert "pkg:model must run on the inputs of the task, (4, 3) of torch.float32" in text
    text = complaint_of(RIGHT, nn.Sequential(nn.Linear(3, 3), nn.Flatten(0), nn.Unflatten(0, (12, 1))))
    assert "whose first axis is the 4 samples, but returned (12, 1)" in text


def test_an_item_that_fails_is_named() -> None:
    for data, says in (
        (Failing(X, Y), "item 7 of 'validation' failed with OSError: broken disk"),
        (Restless(X, Y), "item 0 of 'validation' differs when it is read again"),
        ([object()] * 3, "item 0 of 'validation' failed with TypeError: a sample must hold tensors"),
    ):
        with pytest.raises(ValueError, match="splits of a Task must") as raised:
            samples.checksum(replace(RIGHT, splits={"train": DATA, "validation": data}))
        assert says in str(raised.value)


def test_contents_types_and_order_count_in_the_checksum() -> None:
    def of(data: Any) -> str:
        return samples.checksum(replace(RIGHT, splits={"train": data, "validation": DATA}))

    changed = Y.clone()
    changed[7] += 1e-6
    different = [
        DATA,
        TensorDataset(X, changed),
        TensorDataset(X.double(), Y),
        TensorDataset(X.flip(0), Y.flip(0)),
        TensorDataset(X[:19], Y[:19]),
        [(x.numpy(), float(y)) for x, y in zip(X, Y, strict=True)],
        [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)],
    ]
    sums = [of(data) for data in different]
    assert len({*sums}) == len(different)
    assert of(TensorDataset(X.clone(), Y.clone())) == of([(x, y) for x, y in zip(X, Y, strict=True)]) == sums[0]
