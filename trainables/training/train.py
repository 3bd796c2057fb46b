"""The one training loop, for dense and for pruned networks, and the one way to judge them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.batches import Augment, Batch, Drawn, Resident, eval_batches, train_batches
from trainables.models.layers import Masks, weight_of
from trainables.pruning.gates import ChannelGates
from trainables.spec import Recipe
from trainables.training.cuda_graphs import graphed
from trainables.training.process import in_bfloat16
from trainables.training.team import ALONE, Team

EVAL_BATCH = 512
Loss = Callable[[Batch, Tensor], Tensor]  # a batch and its logits (B, classes) -> the scalar that one step lowers
Draw = Callable[[int], Drawn | None]  # an epoch of a training, from 0 on -> its samples; None: every sample once


class DivergedError(RuntimeError):
    """Training produced a loss that is not a number."""


@dataclass(frozen=True)
class Judgement:
    """How a network does on a split."""

    accuracy: float
    loss: float


def autocast(device: torch.device) -> torch.autocast:
    """Compute in the precision of this process, which is bfloat16 where the device gains by it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16(device))


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Put a network on the device, in the memory layout that convolutions like best, on CPUs by a third of the time."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def evaluate(model: nn.Module, data: Resident, team: Team = ALONE) -> Judgement:
    """Judge a network in eval mode; its mode is restored. team: all of it judges, and knows the verdict."""
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
    return Judgement(int(team.total(hits)) / len(data), float(team.total(loss)) / len(data))


def sgd(model: nn.Module, recipe: Recipe, gates: ChannelGates | None = None) -> torch.optim.SGD:
    """Build the optimizer of a recipe, and of gates where there are any, which have their own schedule.

    Gates know neither decay, which would close them, nor momentum, which would carry them past their budget (ours).
    """
    groups: list[dict[str, Any]] = [{"params": model.parameters(), "initial_lr": recipe.lr, "ends": 1.0, "done": 0.0}]
    if gates:
        ends = gates.settings.epochs / recipe.epochs  # when they come to rest
        own = {"initial_lr": gates.lr, "ends": ends, "done": 0.0, "momentum": 0.0, "weight_decay": 0.0}
        groups.append({"params": gates.parameters(), **own})
    optimizer = torch.optim.SGD(
        groups, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, foreach=True
    )
    if gates:
        optimizer.register_step_post_hook(lambda *_: gates.step_to_target(optimizer.param_groups[-1]["done"]))
    return optimizer


def hard_labels(batch: Batch, logits: Tensor) -> Tensor:
    """Cross-entropy with the labels: the loss of every training without a teacher."""
    return batch.mean(nn.functional.cross_entropy(logits, batch.labels, reduction="none"))


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained."""

    recipe: Recipe
    augment: Augment = "none"
    seed: int = 0
    loss: Loss = hard_labels
    draw: Draw = lambda _: None  # epochs count from the first one that is trained
    skipped: int = 0  # epochs at the beginning of the recipe that are left out
    spared: int = 0  # epochs at its end that are left out
    reinitialise: bool = False  # whether the weights are drawn again before the training

    @property
    def epochs(self) -> int:
        """The number of epochs that are trained."""
        return self.recipe.epochs - self.skipped - self.spared


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

    done: epochs of the plan that are trained already. optimizer: a fresh one of the recipe by default. The order, the
    augmentation and the dropout of an epoch depend on the seed and the epoch alone, so a resumed run repeats them. Each
    worker of a team trains its own copy on its share of each batch and draws its own dropout.
    """
    device, recipe = data.device, plan.recipe
    optimizer = optimizer or sgd(model, recipe)
    held = [(weight_of(model.get_submodule(name)), mask) for name, mask in (masks or {}).items()]
    weights, kept = [w for w, _ in held], [m for _, m in held]
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    alone = team.size == 1
    forward = graphed(model, learning, recipe.batch_size, device) if alone else team.forward(model, learning)
    for epoch in range(plan.skipped + done, plan.skipped + plan.epochs):
        epoch_seed = (plan.seed * 1_000_003 + epoch) % 2**63
        torch.manual_seed((epoch_seed + team.rank * 2**40) % 2**63)
        model.train()
        total = torch.zeros((), device=device)
        seen = 0.0
        steps = math.ceil(len(data) / recipe.batch_size)
        drawn = plan.draw(epoch - plan.skipped)
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
            seen += batch.size
        mean = float(team.total(total)) / (seen * team.size)
        if not math.isfinite(mean):
            raise DivergedError(f"loss must stay finite, but became {mean} in epoch {epoch + 1}; lower lr {recipe.lr}")
        yield mean


@torch.no_grad()
def zero(weights: list[Tensor], kept: list[Tensor]) -> None:
    """Zero what the masks have removed, all layers in one call."""
    if weights:
        torch._foreach_mul_(weights, kept)


def set_lr(optimizer: torch.optim.SGD, recipe: Recipe, progress: float) -> None:
    """Set the learning rates of a point of training; progress runs from 0 to 1."""
    for group in optimizer.param_groups:
        group["done"] = min(1.0, progress / group["ends"])
        factor = 0.5 * (1.0 + math.cos(math.pi * group["done"])) if recipe.schedule == "cosine" else 1.0
        group["lr"] = group["initial_lr"] * factor
