"""The training loop and the evaluation of all networks, dense and pruned."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.batches import Augment, Batch, Drawn, Resident, eval_batches, train_batches
from trainables.models.layers import Masks
from trainables.pruning.gates import ChannelGates
from trainables.spec import Recipe
from trainables.training.cuda_graphs import graphed
from trainables.training.optimizers import SGD
from trainables.training.process import in_bfloat16
from trainables.training.team import ALONE, Team

EVAL_BATCH = 512
Loss = Callable[[Batch, Tensor], Tensor]  # a batch and its logits (B, classes) -> the scalar that a step minimises
Draw = Callable[[int], Drawn | None]  # number of an epoch, from 0 on -> its samples; None: every sample once


class DivergedError(RuntimeError):
    """The loss of training or validation is not finite."""


@dataclass(frozen=True)
class Evaluation:
    """The accuracy and loss of a network on a split."""

    accuracy: float  # top-1, in [0, 1]
    loss: float  # mean cross-entropy in nats


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

    team: all workers call this; each evaluates its share, and all get the result.
    """
    training = model.training
    model.eval()
    device = data.device
    hits = torch.zeros((), dtype=torch.long, device=device)
    loss = torch.zeros((), device=device)
    for batch in eval_batches(data, EVAL_BATCH, team.share):
        with autocast(device):
            logits = model(batch.images).float()
        hits += (logits.argmax(1) == batch.labels).sum()
        loss += nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
    model.train(training)
    return Evaluation(int(team.total(hits)) / len(data), float(team.total(loss)) / len(data))


def sgd(model: nn.Module, recipe: Recipe, gates: ChannelGates | None = None) -> torch.optim.SGD:
    """Build the optimizer of a recipe. Gates, if any, are a parameter group with their own schedule.

    Gates have no weight decay, as it would close them, and no momentum, as it would take them past their budget (ours).
    """
    groups: list[dict[str, Any]] = [
        {"params": model.parameters(), "initial_lr": recipe.lr, "end": 1.0, "progress": 0.0}
    ]
    if gates:
        end = gates.settings.epochs / recipe.epochs  # fraction of the training after which gates no longer change
        options = {"initial_lr": gates.lr, "end": end, "progress": 0.0, "momentum": 0.0, "weight_decay": 0.0}
        groups.append({"params": gates.parameters(), **options})
    optimizer = SGD(groups, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True)
    if gates:
        optimizer.register_step_post_hook(lambda *_: gates.step_to_target(optimizer.param_groups[-1]["progress"]))
    return optimizer


def hard_labels(batch: Batch, logits: Tensor) -> Tensor:
    """Return the mean cross-entropy (nats) with the labels: the loss of every training without a teacher."""
    return batch.mean(nn.functional.cross_entropy(logits, batch.labels, reduction="none"))


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained."""

    recipe: Recipe
    augment: Augment = "none"
    seed: int = 0
    loss: Loss = hard_labels
    draw: Draw = lambda _: None  # epoch 0 is the first trained epoch
    skip_first: int = 0  # epochs that are left out at the beginning of the recipe
    skip_last: int = 0  # epochs that are left out at its end
    reinitialise: bool = False  # the weights are drawn again before the training

    @property
    def epochs(self) -> int:
        """The number of epochs that are trained."""
        return self.recipe.epochs - self.skip_first - self.skip_last


def train(
    model: nn.Module,
    data: Resident,
    plan: TrainingPlan,
    optimizer: torch.optim.SGD | None = None,
    masks: Masks | None = None,
    done: int = 0,
    team: Team = ALONE,
) -> Iterator[float]:
    """Train to the end of the plan and yield the mean loss after each epoch; masked weights stay zero in every step.

    optimizer: by default a new one for the recipe. masks: of parameters. done: epochs of the plan that are already
    trained. The order, augmentation and dropout of an epoch depend only on the seed and the epoch, so a resumed
    run repeats them. Each worker of a team trains its own copy on its share of each batch and draws its own dropout.
    Raises DivergedError where the loss of an epoch is not finite.
    """
    epochs = range(plan.skip_first + done, plan.skip_first + plan.epochs)
    if not epochs:
        return  # a team that has nothing to train is not called, so its workers have no connection
    device, recipe = data.device, plan.recipe
    optimizer = optimizer or sgd(model, recipe)
    masks = masks or {}
    weights: list[Tensor] = [model.get_parameter(name) for name in masks]
    kept = list(masks.values())
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    alone = team.size == 1
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
        for step, batch in enumerate(batches):
            set_lr(optimizer, recipe, (epoch + step / steps) / recipe.epochs)
            with autocast(device):
                loss = plan.loss(batch, forward(batch.images))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            zero(weights, kept)
            total += loss.detach() * batch.size
            samples += batch.size
        mean = float(team.total(total)) / (samples * team.size)
        if not math.isfinite(mean):
            raise DivergedError(f"loss must stay finite, but became {mean} in epoch {epoch + 1}; lower lr {recipe.lr}")
        yield mean


@torch.no_grad()
def zero(weights: list[Tensor], kept: list[Tensor]) -> None:
    """Zero all masked weights in place, with one call for all layers; kept: masks of the same shapes as the weights."""
    if weights:
        torch._foreach_mul_(weights, kept)


def set_lr(optimizer: torch.optim.SGD, recipe: Recipe, progress: float) -> None:
    """Set the learning rate of each parameter group; progress: fraction of the recipe's training that is done."""
    for group in optimizer.param_groups:
        group["progress"] = min(1.0, progress / group["end"])
        factor = 0.5 * (1.0 + math.cos(math.pi * group["progress"])) if recipe.schedule == "cosine" else 1.0
        group["lr"] = group["initial_lr"] * factor
