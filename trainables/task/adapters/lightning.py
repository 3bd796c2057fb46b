"""A Task of a module and a data module of Lightning. Imports nothing of Lightning.

A study prunes copies of the module's network, so the module's steps must see their outputs. While a step runs, the
network that it calls returns given outputs instead of its own.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from trainables.arguments import Arguments, flat
from trainables.task.metric import Metric
from trainables.task.task import Task

LOADERS = {"train": "train_dataloader", "validation": "val_dataloader", "test": "test_dataloader"}
HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer", "transfer_batch_to_device")  # change batches


def task_of(
    module: nn.Module,
    data: Any,
    metric: str | Metric,
    higher_is_better: bool = True,
    outputs: int = 1,
    logits: int | None = None,
    network: str = "",
) -> Task:
    """Make a Task. The loss of training and of validation is what `training_step` returns, a mean over a batch.

    Args:
        module: a LightningModule. Its weights do not count: the study's model is a function that builds its network.
        data: a LightningDataModule whose loaders read map-style data sets; their order and batch sizes do not count.
        metric: the name under which `validation_step` logs the mean over a batch, as a number or as a metric of
            torchmetrics. Or a Metric.
        higher_is_better: of a metric that is logged.
        outputs, logits: as a Task has them.
        network: name of the part of the module that the study prunes; empty: the module itself. `training_step` must
            call it once, and so must `validation_step`.

    Raises:
        ValueError: the module optimises by hand, its steps do not call the network once, or the data module's loaders
            give other things than samples in a plain order.
    """
    if not getattr(module, "automatic_optimization", True):
        raise _wrong(module, "automatic_optimization", "be true", "it is false; a study makes the steps itself")
    _refuse_hooks(module)
    _refuse_hooks(data)
    steps = _Steps(module, network)
    loaders = _loaders(data)
    collators = {loader.collate_fn for loader in loaders.values()}
    if len(collators) > 1:
        raise _wrong(data, "loaders", "have one collate_fn", f"they have {len(collators)}; use the same for all")
    (collate,) = collators
    batch = collate([loaders["train"].dataset[0]])
    example = steps.inputs(batch)
    if not all(map(torch.equal, flat(example), flat(steps.inputs(batch)))):
        raise _wrong(
            module,
            "training_step",
            "call its network with the same inputs for the same batch",
            "they differ; draw random numbers in the network",
        )
    return Task(
        splits={name: loader.dataset for name, loader in loaders.items()},
        example=example,
        loss=steps.loss,
        metric=_logged(steps, metric, higher_is_better) if isinstance(metric, str) else metric,
        outputs=outputs,
        logits=logits,
        inputs=steps.inputs,
        collate=collate,
    )


class _Reached(BaseException):
    """Ends a step where it calls the network."""

    def __init__(self, inputs: Arguments) -> None:
        super().__init__()
        self.inputs = inputs


class _Steps:
    """The steps of a module with given outputs in the place of its network's."""

    def __init__(self, module: nn.Module, network: str) -> None:
        self._module, self._network, self._name = module, module.get_submodule(network), network or "the module itself"
        self._signature = inspect.signature(self._network.forward)

    def inputs(self, batch: Any) -> Arguments:
        """Return what `training_step` calls the network with."""

        def reach(*positional: Any, **named: Any) -> Tensor:
            if named:
                raise _Reached(self._signature.bind(*positional, **named).arguments)
            raise _Reached(positional[0] if len(positional) == 1 else positional)

        try:
            self._run("training_step", reach, batch)
        except _Reached as reached:
            return reached.inputs
        raise self._uncalled("training_step", 0)

    def loss(self, outputs: Tensor, batch: Any) -> Tensor:
        """Return the loss of `training_step` for these outputs."""
        returned, _ = self.run("training_step", outputs, batch)
        loss = returned.get("loss") if isinstance(returned, Mapping) else returned
        if not isinstance(loss, Tensor):
            raise _wrong(self._module, "training_step", "return a loss", f"it returned a {type(loss).__name__}")
        return loss

    def run(self, step: str, outputs: Tensor, batch: Any) -> tuple[Any, dict[str, Any]]:
        """Run a step. Return what it returns, and what it logs by name."""
        calls = 0
        self._module.to(outputs.device)  # what it keeps, such as the weights of classes

        def give(*_: Any, **__: Any) -> Tensor:
            nonlocal calls
            calls += 1
            return outputs

        returned, logged = self._run(step, give, batch)
        if calls != 1:
            raise self._uncalled(step, calls)
        return returned, logged

    def _run(self, step: str, forward: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        logged: dict[str, Any] = {}

        def log(name: str, value: Any, *_: Any, **__: Any) -> None:
            logged[name] = value.compute() if hasattr(value, "compute") else value

        metrics: list[Any] = [each for each in self._module.modules() if hasattr(each, "compute")]  # of torchmetrics
        for metric in metrics:
            metric.reset()  # it forgets earlier batches
        with _replaced(self._network, "forward", forward), _replaced(self._module, "log", log):
            returned = getattr(self._module, step)(batch, 0)
        return returned, logged

    def _uncalled(self, step: str, calls: int) -> ValueError:
        return _wrong(
            self._module,
            step,
            f"call its network ({self._name}) once",
            f"it calls it {calls} times; name the part that it calls: task_of(..., network=...)",
        )


@contextmanager
def _replaced(module: nn.Module, name: str, function: Any) -> Iterator[None]:
    """Give a module another method for a while."""
    before = vars(module).get(name)
    vars(module)[name] = function
    try:
        yield
    finally:
        del vars(module)[name]
        if before is not None:
            vars(module)[name] = before


def _logged(steps: _Steps, name: str, higher_is_better: bool) -> Metric:
    """Return the mean over samples of what `validation_step` logs, as Lightning computes it for an epoch."""

    def sums(outputs: Tensor, batch: Any) -> Tensor:
        _, logged = steps.run("validation_step", outputs, batch)
        value = logged.get(name)
        if not isinstance(value, Tensor | int | float) or (isinstance(value, Tensor) and value.numel() > 1):
            found = f"{type(value).__name__} {name}" if name in logged else f"only {', '.join(logged) or 'nothing'}"
            raise ValueError(f"validation_step must log a number {name!r}, but logs {found}; log one, or give a Metric")
        count = float(len(outputs))
        return torch.tensor(
            [float(torch.as_tensor(value).detach()) * count, count], dtype=torch.float64, device=outputs.device
        )

    plain = re.sub(r"^(val|valid|validation)[_/]|[^a-z0-9_]", "", name.lower())
    return Metric(plain, sums, higher_is_better=higher_is_better)


def _loaders(data: Any) -> dict[str, DataLoader[Any]]:
    """Set a data module up and return its loaders, of the test split only if it has one."""
    data.prepare_data()
    data.setup("fit")
    loaders = {name: getattr(data, LOADERS[name])() for name in ("train", "validation")}
    if _overrides(data, LOADERS["test"]):
        data.setup("test")
        loaders["test"] = data.test_dataloader()
    for name, loader in loaders.items():
        if not isinstance(loader, DataLoader):
            raise _wrong(data, LOADERS[name], "return one DataLoader", f"it returned a {type(loader).__name__}")
        if not isinstance(loader.sampler, RandomSampler | SequentialSampler):
            found = type(loader.sampler).__name__
            raise _wrong(data, LOADERS[name], "draw each sample once", f"it has a {found}; leave it out")
    return loaders


def _refuse_hooks(owner: Any) -> None:
    for name in HOOKS:
        if _overrides(owner, name):
            raise _wrong(owner, name, "be left out", "it is there; change samples in the data set or in the network")


def _overrides(owner: Any, name: str) -> bool:
    """Tell whether a class of the user's own defines a method."""
    own = (kind for kind in type(owner).__mro__ if not kind.__module__.startswith(("lightning.", "pytorch_lightning.")))
    return any(name in vars(kind) for kind in own)


def _wrong(owner: Any, what: str, rule: str, found: str) -> ValueError:
    return ValueError(f"{what} of {type(owner).__name__} must {rule}, but {found}")
