"""The contract of a recovery and of an optimizer of the user's own, checked on a small network and random images."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from trainables.catalog.contract_rules import called, must, short
from trainables.data.batches import Batch
from trainables.models import hub
from trainables.plugins import load
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.task.classification import CLASSIFICATION
from trainables.training.recovery import Pruned, recovery
from trainables.training.train import TrainingPlan
from trainables.training.updates import Updates


def check_recovery(name: str) -> Iterator[str]:
    """Let a recovery plan a training, and compute its loss. Yields a line about what held."""
    model = hub.build("small_cnn", 10, 1, 0.25)
    spec = TrialSpec(recovery=name)
    made = called(name, recovery(name), Pruned(spec, 2.0, lambda: deepcopy(model)))
    must(
        isinstance(made, TrainingPlan),
        f"recovery {name!r} must return a TrainingPlan, but returned a {type(made).__name__}; return pruned.plan(...)",
    )
    images, labels = _batch()
    logits: Tensor = model.train()(images)
    batch = Batch((images, labels), images, torch.arange(16))
    loss = called(name, made.loss(CLASSIFICATION), batch, logits)
    must(
        isinstance(loss, Tensor) and loss.dim() == 0 and loss.requires_grad and bool(loss.isfinite()),
        f"the loss of recovery {name!r} must be a finite scalar with a gradient, but is {short(loss)}",
    )
    yield f"{made.epochs} epochs for a trial with finetune.epochs {spec.finetune.epochs}, loss {loss.item():.3f}"


def check_optimizer(name: str) -> Iterator[str]:
    """Make steps, and go on from their state, as after a kill. Yields a line about what held."""
    recipe, before = Recipe(epochs=2, optimizer=name), hub.build("small_cnn", 10, 1, 0.25).train()
    images, labels = _batch()
    build = load("optimizer", name)
    made = called(name, build, list(deepcopy(before).named_parameters()), recipe)
    must(
        isinstance(made, torch.optim.Optimizer),
        f"optimizer {name!r} must return an optimizer of torch (torch.optim.Optimizer), but returned a "
        f"{type(made).__name__}; return one",
    )

    def step(model: nn.Module, updates: Updates, done: float) -> None:
        updates.set_progress(done)
        called(name, updates.step, nn.functional.cross_entropy(model(images), labels))

    whole = deepcopy(before)
    places = [value.data_ptr() for value in whole.parameters()]
    updates = Updates(whole, recipe)
    step(whole, updates, 0.0)
    step(whole, updates, 0.25)
    changed = [key for key, value in whole.named_parameters() if not torch.equal(value, before.get_parameter(key))]
    must(bool(changed), f"optimizer {name!r} must change weights, but changes none; give it the parameters")
    must(
        all(bool(value.isfinite().all()) for value in whole.parameters()),
        f"optimizer {name!r} must keep weights finite at a rate of {recipe.lr}, but does not; take steps of this rate",
    )
    must(
        places == [value.data_ptr() for value in whole.parameters()],
        f"optimizer {name!r} must change weights in place, as CUDA graphs and averages need, but puts others there; "
        "use the in-place operations of torch",
    )
    kept = [entry for state in updates.state.values() for entry, value in state.items() if not _is_kept(value)]
    must(
        not kept,
        f"optimizer {name!r} must keep its state as tensors, so that a killed training goes on, but {kept[:1]} is "
        "none; make it a tensor",
    )
    again = deepcopy(whole)
    resumed = Updates(again, recipe)
    resumed.remember({key: value.clone() for key, value in updates.memory().items()})
    step(whole, updates, 0.5)
    step(again, resumed, 0.5)
    must(
        all(torch.equal(value, again.get_parameter(key)) for key, value in whole.named_parameters()),
        f"optimizer {name!r} must go on from the state of each parameter, as after a kill, but goes on otherwise; keep "
        "all it needs in optimizer.state",
    )
    yield f"{type(made).__name__}: steps change {len(changed)} parameters, and go on from a saved state"


def _is_kept(value: object) -> bool:
    return value is None or isinstance(value, Tensor)


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 1, 8, 8), torch.randint(10, (16,))
