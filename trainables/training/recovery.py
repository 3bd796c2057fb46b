"""The recoveries by name: how a pruned network regains accuracy by training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.arguments import outputs_of
from trainables.checkpoints.checkpoint import Architecture
from trainables.data.batches import Batch
from trainables.models.layers import Masks
from trainables.own_function import is_external
from trainables.plugins import load
from trainables.pruning.masks import apply
from trainables.pruning_spec import Distillation
from trainables.recipe import Recipe
from trainables.spec import TrialSpec
from trainables.task.classification import CLASSIFICATION
from trainables.task.distance import Distance
from trainables.task.objective import Objective
from trainables.training.train import Loss, TrainingPlan, task_loss


@dataclass(frozen=True, eq=False)
class Pruned:
    """What a recovery reads of a pruned network."""

    spec: TrialSpec
    mac_ratio: float  # dense multiply-accumulates divided by kept ones
    dense: Callable[[], nn.Module]  # loads the dense network
    objective: Objective = CLASSIFICATION

    @property
    def trained_epochs(self) -> int:
        """Epochs of recovery that the joint training of weights and gates has already done."""
        return self.spec.gates.epochs if self.spec.joint else 0

    def plan(self, recipe: Recipe, skip_first: int = 0, reinitialise: bool = False) -> TrainingPlan:
        """Plan a training with the trial's augmentation and seed."""
        return TrainingPlan(
            recipe, self.spec.dense.data.augment, self.spec.seed, skip_first=skip_first, reinitialise=reinitialise
        )


def finetune(pruned: Pruned) -> TrainingPlan:
    """Train the kept weights from their final values, by the recipe of fine-tuning."""
    return pruned.plan(pruned.spec.finetune, skip_first=pruned.trained_epochs)


def rewind(pruned: Pruned) -> TrainingPlan:
    """Repeat the last epochs of dense training from the final weights, for as many epochs as fine-tuning has.

    This is learning-rate rewinding (Renda et al., arXiv 2003.02389): the learning rates, the batch size and the order
    of the samples are those of the same epochs of dense training. Momentum starts from zero (ours).
    """
    recipe = pruned.spec.dense.recipe
    return pruned.plan(recipe, skip_first=recipe.epochs - pruned.spec.finetune.epochs + pruned.trained_epochs)


def distill(pruned: Pruned) -> TrainingPlan:
    """Fine-tune towards the labels and the dense network's predictions (Hinton et al., arXiv 1503.02531)."""
    plan = finetune(pruned)
    objective = pruned.objective
    of_task = task_loss(objective, plan.recipe)
    loss = distillation(pruned.dense(), pruned.spec.distillation, of_task, objective.distance)
    return replace(plan, other_loss=loss)


def scratch(pruned: Pruned) -> TrainingPlan:
    """Control: train the pruned architecture from new random weights, by the recipe of dense training (Scratch-E).

    Liu et al., arXiv 1810.05270. The number of epochs is that of dense training.
    """
    return pruned.plan(pruned.spec.dense.recipe, reinitialise=True)


def scratch_b(pruned: Pruned) -> TrainingPlan:
    """Control: as scratch, but with as many multiply-accumulates as dense training (Scratch-B).

    Liu et al., arXiv 1810.05270. The number of epochs is multiplied by dense over kept multiply-accumulates; the
    learning-rate schedule is stretched with it. Ours: epochs are rounded to a whole number, and the
    multiply-accumulates of masked weights count as saved.
    """
    recipe = pruned.spec.dense.recipe
    longer = {"epochs": round(recipe.epochs * pruned.mac_ratio), "warmup": recipe.warmup * pruned.mac_ratio}
    stretched = recipe.model_copy(update=longer)
    return pruned.plan(stretched, reinitialise=True)


def distillation(teacher: nn.Module, settings: Distillation, of_task: Loss, distance: Distance) -> Loss:
    """Return the loss (1 - a) L + a T^2 D(z_teacher / T, z / T), a mean over the batch.

    L: `of_task`. z: outputs. D: `distance`; of logits it is KL(softmax(z_teacher / T) || softmax(z / T)). a:
    `settings.weight`. T: `settings.temperature`. The teacher is put in eval mode and stays there.
    """
    teacher.eval()
    a, t = settings.weight, settings.temperature

    def loss(batch: Batch, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            target = distance.reference(outputs_of(teacher, batch.inputs) / t)
        return (1 - a) * of_task(batch, outputs) + a * t**2 * batch.mean(distance.of_samples(target, outputs / t))

    return loss


@torch.no_grad()
def reinitialise(model: nn.Module, masks: Masks, architecture: Architecture, seed: int) -> None:
    """Draw every weight again and reset batch-norm statistics, in place; widths, masks and frozen layers stay.

    Each layer is drawn at full width. A narrower layer takes a slice of it, scaled to the variance of its own number of
    inputs; this is exact where the builder scales by fan-in (ours). No dense network has the same random seed.
    """
    torch.manual_seed(2**63 - 1 - seed)
    fresh = dict(architecture.build().named_parameters())
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        full = fresh[name]
        values = full[tuple(slice(extent) for extent in parameter.shape)]
        if parameter.dim() > 1:
            values = values * (full[0].numel() / parameter[0].numel()) ** 0.5
        parameter.copy_(values)
    for module in model.modules():
        learns = [parameter.requires_grad for parameter in module.parameters()]
        if isinstance(module, _BatchNorm) and (any(learns) or not learns):
            module.reset_running_stats()
    apply(model, masks)


RECOVERIES: Mapping[str, Callable[[Pruned], TrainingPlan]] = {
    "finetune": finetune,
    "rewind": rewind,
    "distill": distill,
    "scratch": scratch,
    "scratch-b": scratch_b,
}


def recovery(name: str) -> Callable[[Pruned], TrainingPlan]:
    """Find a recovery: one of the catalog, or a function of the user's own. Raises ValueError as `plugins.load`."""
    return load("recovery", name) if is_external(name) else RECOVERIES[name]
