"""The training loop and the evaluation of all networks, dense and pruned."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainables.arguments import outputs_of
from trainables.data.batches import Augment, Batch, Drawn, Resident, eval_batches, train_batches
from trainables.recipe import Recipe
from trainables.task.objective import Objective
from trainables.training.cuda_graphs import graphed
from trainables.training.mixing import mixed
from trainables.training.process import in_bfloat16
from trainables.training.team import ALONE, Team
from trainables.training.updates import Updates

EVAL_BATCH = 512
Loss = Callable[[Batch, Tensor], Tensor]  # a batch and its outputs (B, ...) -> the scalar that a step minimises
Draw = Callable[[int], Drawn | None]  # number of an epoch, from 0 on -> its samples; None: every sample once


class DivergedError(RuntimeError):
    """The loss of training or validation is not finite."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics and the mean loss of a network on a split, by the objective of its task."""

    metric: float
    loss: float
    other_metrics: dict[str, float] = field(default_factory=dict)  # name -> value

    @property
    def reported(self) -> dict[str, Any]:
        """The fields that the report of an epoch has of it."""
        return {"val_accuracy": self.metric, "val_loss": self.loss, "other_metrics": self.other_metrics}


def autocast(device: torch.device) -> torch.autocast:
    """Return a context that computes in the precision of this process; by default, bfloat16 on GPUs that support it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device))


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to the device, in the memory layout in which convolutions are fastest (a third faster on CPUs).

    Only tensors of four dimensions have this layout; `Module.to` would fail on those of five.
    """
    model.to(device)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model


@torch.no_grad()
def evaluate(model: nn.Module, data: Resident, team: Team = ALONE) -> Evaluation:
    """Evaluate a network in eval mode on a split; it then returns to the mode that it was in.

    team: all workers call this; each evaluates its share, and all get the result. Where a share of a batch is empty,
    the worker runs on the first sample, which does not count: no network and no metric need understand an empty batch.
    """
    training = model.training
    model.eval()
    device = data.device
    objective = data.objective
    metrics = (objective.metric, *objective.other_metrics)
    sums: list[list[Tensor]] = [[] for _ in metrics]  # of each batch
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for batch in eval_batches(data, EVAL_BATCH, team.share):
        counts = len(batch.index) > 0
        content = batch.content if counts else data.first()
        with autocast(device):
            outputs = outputs_of(model, objective.inputs(content)).float()
        for metric, own in zip(metrics, sums, strict=True):
            found = metric.sums(outputs, content).double()
            own.append(found if counts else torch.zeros_like(found))
        if counts:
            loss += objective.losses(outputs, content).double().sum()
    model.train(training)
    totals = (team.total(torch.stack(own).sum(0)).cpu() for own in sums)
    value, *others = (metric.value(total) for metric, total in zip(metrics, totals, strict=True))
    names = (metric.name for metric in objective.other_metrics)
    return Evaluation(value, float(team.total(loss)) / len(data), dict(zip(names, others, strict=True)))


def task_loss(objective: Objective, recipe: Recipe) -> Loss:
    """Return the mean loss of the task by a recipe. Where samples are mixed, each has its share."""
    losses = objective.trained(recipe)

    def loss(batch: Batch, outputs: Tensor) -> Tensor:
        own = batch.mean(losses(outputs, batch.content))
        return batch.own * own + (1 - batch.own) * loss(batch.partner, outputs) if batch.partner else own

    return loss


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained."""

    recipe: Recipe
    augment: Augment = "none"
    seed: int = 0
    other_loss: Loss | None = None  # what a step minimises instead of `task_loss`
    draw: Draw = lambda _: None  # epoch 0 is the first trained epoch
    skip_first: int = 0  # epochs that are left out at the beginning of the recipe
    skip_last: int = 0  # epochs that are left out at its end
    reinitialise: bool = False  # the weights are drawn again before the training

    @property
    def epochs(self) -> int:
        """The number of epochs that are trained."""
        return self.recipe.epochs - self.skip_first - self.skip_last

    def loss(self, objective: Objective) -> Loss:
        """Return what a step minimises."""
        return self.other_loss or task_loss(objective, self.recipe)


def train(
    model: nn.Module,
    data: Resident,
    plan: TrainingPlan,
    updates: Updates | None = None,
    done: int = 0,
    team: Team = ALONE,
) -> Iterator[float]:
    """Train to the end of the plan and yield the mean loss after each epoch.

    updates: of this network; by default new ones for the recipe. done: epochs of the plan that are already trained. The
    order, augmentation and dropout of an epoch depend only on the seed and the epoch, so a resumed run repeats them.
    Each worker of a team trains its own copy on its share of each batch and draws its own dropout. Raises DivergedError
    where the loss of an epoch is not finite.
    """
    epochs = range(plan.skip_first + done, plan.skip_first + plan.epochs)
    if not epochs:
        return  # a team that has nothing to train is not called, so its workers have no connection
    device, recipe, loss_of = data.device, plan.recipe, plan.loss(data.objective)
    updates = updates or Updates(model, recipe)
    alone = team.size == 1
    learning = updates.learning
    forward = graphed(model, learning, recipe.batch_size, device) if alone else team.forward(model, learning)
    for epoch in epochs:
        epoch_seed = (plan.seed * 1_000_003 + epoch) % 2**63
        torch.manual_seed((epoch_seed + team.rank * 2**40) % 2**63)
        model.train()
        total = torch.zeros((), device=device)
        samples = 0.0
        steps = math.ceil(len(data) / recipe.batch_size)
        drawn = plan.draw(epoch - plan.skip_first)
        batches = train_batches(data, recipe.batch_size, plan.augment, epoch_seed, drawn, team.share)
        if recipe.mixes:
            batches = mixed(batches, recipe, seed=(epoch_seed, team.rank))
        with updates.training():
            for step, batch in enumerate(batches):
                updates.set_progress((epoch + step / steps) / recipe.epochs)
                with autocast(device):
                    loss = loss_of(batch, forward(batch.inputs))
                updates.step(loss)
                total += loss.detach() * batch.size
                samples += batch.size
        mean = float(team.total(total)) / (samples * team.size)
        if not math.isfinite(mean):
            raise DivergedError(f"loss must stay finite, but became {mean} in epoch {epoch + 1}; lower lr {recipe.lr}")
        yield mean
