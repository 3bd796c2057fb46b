"""Whether a model and a task go together: one batch goes through everything before any trial."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from trainables.arguments import Arguments, call, one_tensor, outputs_of, samples_in
from trainables.task.check import SAMPLES, batch_of, metrics_of
from trainables.task.complaint import called, described, line, shape_of, short, wrong
from trainables.task.metric import Metric
from trainables.task.task import Task

SAME = 1e-3  # of a sum: two sums that differ by less are the same


def refuse_unfit(name: str, task: Task, model: nn.Module, model_name: str) -> None:
    """Raise ValueError where a model and a task do not go together: one batch goes through everything.

    The model runs on a copy of the first training samples, in training mode with a gradient, and in eval mode. It is
    left with gradients and with other batch-norm statistics.
    """
    batch = batch_of(name, task, "train", min(SAMPLES, len(task.splits["train"])))
    one = batch_of(name, task, "train", 1)
    inputs = task.inputs(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train()
        outputs = _outputs(model_name, model, inputs, " in training mode")
        _refuse_loss(name, task, outputs, batch, any(p.requires_grad for p in model.parameters()))
        model.eval()
        with torch.no_grad():
            outputs, single = (_outputs(model_name, model, task.inputs(each), "") for each in (batch, one))
            _refuse_loss(name, task, single, one, gradient=False)
            for field, metric in metrics_of(task).items():
                _sums(name, field, metric, outputs, batch)
                _sums(name, field, metric, single, one)
                _refuse_metric(name, task, field, metric, model)
            for each, of in ((outputs, batch), (single, one)):
                _refuse_hits(name, task, each, of)
                _refuse_labels(name, task, each, of)
            _refuse_distance(name, task, outputs)


def _outputs(model_name: str, model: nn.Module, inputs: Arguments, mode: str) -> Tensor:
    try:
        returned = call(model, inputs)
    except Exception as error:
        raise ValueError(
            f"{model_name} must run on the inputs of the task, {described(inputs)}{mode}, but failed "
            f"with {type(error).__name__}: {line(error)}; correct the model, or the Task's inputs"
        ) from error
    try:
        outputs = one_tensor(returned)
    except TypeError:
        raise ValueError(
            f"{model_name} must return one tensor, which the Task's loss and metric get as outputs, but returned a "
            f"{type(returned).__name__}{mode}; return the tensor alone"
        ) from None
    if not outputs.dim() or len(outputs) != samples_in(inputs):
        raise ValueError(
            f"{model_name} must return a tensor whose first axis is the {samples_in(inputs)} samples, but returned "
            f"{shape_of(outputs)}{mode}; correct the model"
        )
    return outputs


def _refuse_loss(name: str, task: Task, outputs: Tensor, batch: Any, gradient: bool) -> None:
    losses = called(name, "loss", task.loss, outputs.float(), batch)
    if not isinstance(losses, Tensor) or losses.shape not in ((), (len(outputs),)):
        raise wrong(
            name, "loss", f"return the losses of {len(outputs)} samples ({len(outputs)},), or their mean", losses
        )
    if not bool(losses.isfinite().all()):
        raise wrong(name, "loss", "be finite", losses)
    if gradient and not losses.requires_grad:
        raise wrong(name, "loss", "have a gradient", "one without; leave out detach() and item()")
    if gradient:
        called(name, "loss", losses.mean().backward)


def _sums(name: str, field: str, metric: Metric, outputs: Tensor, batch: Any) -> Tensor:
    """Return the sums of a metric over a batch (sums,). Raises ValueError where they are something else."""
    sums = called(name, f"{field}.sums", metric.sums, outputs.float(), batch)
    if not isinstance(sums, Tensor) or sums.dim() != 1:
        raise wrong(name, f"{field}.sums", "return a tensor (sums,)", sums)
    return sums.double()


def _refuse_hits(name: str, task: Task, outputs: Tensor, batch: Any) -> None:
    if task.hits is None:
        return
    hits = called(name, "hits", task.hits, outputs.float(), batch)
    count = len(outputs)
    if not isinstance(hits, Tensor) or hits.shape != (count,):
        raise wrong(name, "hits", f"return what is right of each of {count} samples ({count},)", hits)
    if hits.dtype != torch.bool and not hits.is_floating_point():
        raise wrong(name, "hits", "be true or false, or shares as floats", hits)
    if hits.dtype != torch.bool and not bool(((hits >= 0) & (hits <= 1)).all()):
        raise wrong(name, "hits", "be shares from 0 to 1", hits)


def _refuse_labels(name: str, task: Task, outputs: Tensor, batch: Any) -> None:
    if task.labels is None:
        return
    if outputs.dim() != 2 or task.logits not in (1, -1):
        rule = "go with outputs that are logits (samples, classes) and with logits=1"
        raise wrong(name, "labels", rule, f"outputs {shape_of(outputs)} and logits={task.logits}")
    labels = called(name, "labels", task.labels, batch)
    count, classes = outputs.shape
    if not isinstance(labels, Tensor) or labels.shape != (count,) or labels.dtype != torch.int64:
        raise wrong(name, "labels", f"return the classes of {count} samples ({count},) as int64", labels)
    if not bool(((labels >= 0) & (labels < classes)).all()):
        raise wrong(name, "labels", f"be classes from 0 to {classes - 1}, as the outputs have", labels)


def _refuse_metric(name: str, task: Task, field: str, metric: Metric, model: nn.Module) -> None:
    """Refuse sums that do not add up over batches, and a value that is no number or out of range."""
    size = min(SAMPLES, len(task.splits["validation"]))
    samples = [task.splits["validation"][item] for item in range(size)]
    sums = []
    for each in ([samples], [[sample] for sample in samples]):
        parts = []
        for some in each:
            batch = task.collate(some)
            outputs = outputs_of(model, task.inputs(batch))
            parts.append(_sums(name, field, metric, outputs, batch))
        sums.append(torch.stack(parts).sum(0))
    whole, added = sums
    if not torch.allclose(whole, added, rtol=SAME, atol=SAME):
        raise wrong(
            name,
            f"{field}.sums",
            f"add up over batches, so that one of {size} samples has the sum of {size} of one",
            f"{short(whole.tolist())} and {short(added.tolist())}",
        )
    if size < SAMPLES:
        return  # a value of so few samples may not be defined
    value = called(name, f"{field}.value", metric.value, whole.cpu())
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise wrong(name, f"{field}.value", "return a finite number", value)
    if metric.name == "accuracy" and not 0.0 <= value <= 1.0:
        raise wrong(name, f"{field}.value", "be a fraction from 0 to 1 for accuracy", value)


def _refuse_distance(name: str, task: Task, outputs: Tensor) -> None:
    if task.logits is not None and not -outputs.dim() <= task.logits < outputs.dim():
        raise wrong(name, "logits", f"be an axis of the outputs {shape_of(outputs)}", task.logits)
    field = "distance" if task.distance is not None else "logits"
    distance = task.objective.distance
    found = called(name, field, lambda: distance.of_samples(distance.reference(outputs), outputs))
    if not isinstance(found, Tensor) or found.shape != (len(outputs),) or not bool(found.isfinite().all()):
        raise wrong(name, field, f"give a finite distance of each of {len(outputs)} samples", found)
