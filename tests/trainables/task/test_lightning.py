"""A Task of a Lightning module has its losses, its metric and its samples."""

import warnings
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tests.tasks import lit
from trainables.arguments import outputs_of
from trainables.task.adapters.lightning import task_of
from trainables.task.check import refuse_wrong
from trainables.task.fit_check import refuse_unfit


class Table(lightning.LightningDataModule):
    """Twenty rows of two tensors and a target; `loader` may change what reads them."""

    def __init__(self, loader: Any = DataLoader) -> None:
        super().__init__()
        self._loader = loader

    def setup(self, stage: str) -> None:
        draw = torch.Generator().manual_seed(0)
        self.rows = TensorDataset(*(torch.randn(20, width, generator=draw) for width in (3, 4, 1)))

    def train_dataloader(self) -> Any:
        return self._loader(self.rows)

    def val_dataloader(self) -> Any:
        return self._loader(self.rows)


class Sum(lightning.LightningModule):
    """Two inputs by position and by name, a loss in a dictionary, two logged values, a part that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TwoInputs()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": (self.net(batch[0], other=batch[1]) - batch[2]).square().mean()}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        error = (self.net(batch[0], other=batch[1]) - batch[2]).abs().mean()
        self.log_dict({"valid/Mean-Error": error, "other": 0.0})


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 1), nn.Linear(4, 1)

    def forward(self, first: Tensor, other: Tensor) -> Tensor:
        total: Tensor = self.a(first) + self.b(other)
        return total


def test_losses_and_metric_are_those_of_the_modules_own_steps_and_trainer() -> None:
    torch.manual_seed(0)
    module, data = lit.Classifier().eval(), lit.Digits()
    task = lit.task()
    refuse_wrong("task", task)
    refuse_unfit("task", task, lit.Classifier(), "model")
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the number of workers
        (told,) = trainer.validate(module, data, verbose=False)
    batches = list(data.val_dataloader())
    with torch.no_grad():
        outputs = [outputs_of(module, task.inputs(batch)) for batch in batches]
        totals = torch.stack([task.metric.sums(o, batch) for o, batch in zip(outputs, batches, strict=True)]).sum(0)
        assert task.metric.value(totals) == pytest.approx(told["val_accuracy"], abs=1e-6)
        module._trainer = None
        module.log = lambda *_, **__: None
        torch.testing.assert_close(task.loss(outputs[0], batches[0]), module.training_step(batches[0], 0))


def test_a_part_with_two_inputs_and_a_loss_in_a_dictionary() -> None:
    task = task_of(Sum(), Table(), "valid/Mean-Error", higher_is_better=False, network="net")
    refuse_wrong("task", task)
    refuse_unfit("task", task, TwoInputs(), "model")
    assert isinstance(task.example, dict)
    assert {name: tuple(tensor.shape) for name, tensor in task.example.items()} == {"first": (1, 3), "other": (1, 4)}
    assert (task.metric.name, task.metric.higher_is_better) == ("meanerror", False)
    batch = task.collate([task.splits["train"][n] for n in range(20)])
    model = TwoInputs()
    outputs = outputs_of(model, task.inputs(batch))
    loss = task.loss(outputs, batch)
    torch.testing.assert_close(loss, (outputs - batch[2]).square().mean())
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(gradient.any()) for gradient in gradients)


class Measured(lit.Classifier):
    """Logs metrics of torchmetrics, which keep what they have seen."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=10)
        self.root = torchmetrics.MeanSquaredError(squared=False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        self.accuracy(logits, batch[1])
        self.root.update(logits.amax(1), batch[1].float())
        self.log("val/accuracy", self.accuracy, on_epoch=True)
        self.log("val/root", self.root)


def test_metrics_of_torchmetrics_are_read_if_they_are_means() -> None:
    data, model = lit.Digits(), lit.Classifier().eval()
    task = task_of(Measured(), data, "val/accuracy", outputs=10, logits=1)
    refuse_unfit("task", task, lit.Classifier(), "model")
    batch = task.collate([task.splits["validation"][n] for n in range(100)])
    with torch.no_grad():
        outputs = outputs_of(model, task.inputs(batch))
    for _ in range(2):
        expected = [float((outputs.argmax(1) == batch[1]).sum()), 100.0]
        assert task.metric.sums(outputs, batch).tolist() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match=r"metric\.sums of task 'task' must add up over batches"):
        refuse_unfit("task", task_of(Measured(), data, "val/root", outputs=10, logits=1), lit.Classifier(), "model")


def of(**methods: Any) -> Any:
    return type("Own", (Sum,), methods)()


def random_inputs(module: Any, batch: Any, batch_idx: int) -> Tensor:
    loss: Tensor = module.net(torch.rand(1, 3), other=batch[1]).sum()
    return loss


def no_loss(module: Any, batch: Any, batch_idx: int) -> None:
    module.net(batch[0], other=batch[1])


def changed_batch(module: Any, batch: Any, dataloader_idx: int) -> Any:
    return batch


@pytest.mark.parametrize(
    ("module", "data", "settings", "complaint"),
    [
        (Sum(), Table(), {"network": ""}, r"training_step of Sum must call its network \(the module itself\) once"),
        (of(automatic_optimization=False), Table(), {}, "automatic_optimization of Own must be true"),
        (of(on_after_batch_transfer=changed_batch), Table(), {}, "on_after_batch_transfer of Own must be left out"),
        (of(training_step=random_inputs), Table(), {}, "training_step of Own must call its network with the same"),
        (Sum(), Table(lambda rows: [DataLoader(rows)]), {}, "train_dataloader of Table must return one DataLoader"),
        (
            Sum(),
            Table(lambda rows: DataLoader(rows, sampler=WeightedRandomSampler([1.0] * 20, 20))),
            {},
            "must draw each sample once, but it has a WeightedRandomSampler",
        ),
        (
            Sum(),
            Table(lambda rows: DataLoader(rows, collate_fn=lambda samples: samples)),
            {},
            "must have one collate_fn, but they have 2",
        ),
    ],
)
def test_what_a_study_cannot_do_is_named(module: Any, data: Any, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        task_of(module, data, "error", **{"network": "net", **settings})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("methods", "metric", "complaint"),
    [
        ({"training_step": no_loss}, "other", "training_step of Own must return a loss"),
        ({}, "accuracy", "must log a number 'accuracy', but logs only valid/Mean-Error, other"),
        ({"validation_step": lambda *_: None}, "other", "validation_step of Own must call its network"),
    ],
)
def test_a_step_that_does_not_fit_is_named_before_any_trial(methods: Any, metric: str, complaint: str) -> None:
    task = task_of(of(**methods), Table(), metric, network="net")
    with pytest.raises(ValueError, match=complaint):
        refuse_unfit("task", task, TwoInputs(), "model")
