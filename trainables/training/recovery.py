"""The recoveries by name: how a pruned network gets its accuracy back by training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.checkpoints.checkpoint import Architecture
from trainables.data.batches import Batch
from trainables.models.layers import Masks
from trainables.pruning.masks import apply
from trainables.pruning_spec import Distillation
from trainables.spec import Recipe, TrialSpec
from trainables.training.train import Loss, TrainingPlan, hard_labels


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned network that is to recover, as far as a recovery needs to know it."""

    spec: TrialSpec
    macs: float  # dense multiply-accumulates over kept ones
    dense: Callable[[], nn.Module]  # loads the dense network

    @property
    def begun(self) -> int:
        """Epochs of its recovery that training along with gates has taken already."""
        return self.spec.gates.epochs if self.spec.joint else 0

    def plan(self, recipe: Recipe, skipped: int = 0, reinitialise: bool = False) -> TrainingPlan:
        """Plan a training with the trial's own augmentation and seed."""
        return TrainingPlan(
            recipe, self.spec.dense.data.augment, self.spec.seed, skipped=skipped, reinitialise=reinitialise
        )


def finetune(pruned: Pruned) -> TrainingPlan:
    """Train the kept weights on, from their final values, by the recipe of fine-tuning."""
    return pruned.plan(pruned.spec.finetune, skipped=pruned.begun)


def rewind(pruned: Pruned) -> TrainingPlan:
    """Repeat the last epochs of dense training, as many as fine-tuning has, from the final weights.

    Learning-rate rewinding (Renda et al., arXiv 2003.02389): the learning rates, batch size and order are those that
    the dense network saw in these epochs; momentum starts from zero (ours).
    """
    recipe = pruned.spec.dense.recipe
    return pruned.plan(recipe, skipped=recipe.epochs - pruned.spec.finetune.epochs + pruned.begun)


def distill(pruned: Pruned) -> TrainingPlan:
    """Fine-tune towards the dense network's opinion as well as the labels (Hinton et al., arXiv 1503.02531)."""
    loss = distillation(pruned.dense(), pruned.spec.distillation)
    return replace(finetune(pruned), loss=loss)


def scratch(pruned: Pruned) -> TrainingPlan:
    """Control: draw the weights anew at the found widths and masks, train as the dense network was (Scratch-E).

    Liu et al., arXiv 1810.05270: the same recipe for as many epochs.
    """
    return pruned.plan(pruned.spec.dense.recipe, reinitialise=True)


def scratch_b(pruned: Pruned) -> TrainingPlan:
    """Control: as scratch, but for as many multiply-accumulates as dense training took (Scratch-B).

    Liu et al., arXiv 1810.05270: the epochs are stretched by dense over kept multiply-accumulates, and the schedule
    with them; rounding to whole epochs is ours, and so is counting masked weights as saved.
    """
    recipe = pruned.spec.dense.recipe
    stretched = recipe.model_copy(update={"epochs": round(recipe.epochs * pruned.macs)})
    return pruned.plan(stretched, reinitialise=True)


def distillation(teacher: nn.Module, settings: Distillation) -> Loss:
    """(1 - a) CE(labels) + a T^2 KL(softmax(z_teacher / T) || softmax(z / T)), a mean over the batch.

    The teacher is put in eval mode for good; a is `settings.weight` and T `settings.temperature`.
    """
    teacher.eval()
    a, t = settings.weight, settings.temperature

    def loss(batch: Batch, logits: Tensor) -> Tensor:
        with torch.no_grad():
            told = F.log_softmax(teacher(batch.images) / t, dim=1)
        apart = F.kl_div(F.log_softmax(logits / t, dim=1), told, reduction="none", log_target=True).sum(1)
        return (1 - a) * hard_labels(batch, logits) + a * t**2 * batch.mean(apart)

    return loss


@torch.no_grad()
def draw_anew(model: nn.Module, masks: Masks, built: Architecture, seed: int) -> None:
    """Replace every weight and statistic by a fresh one, in place; widths and masks stay.

    A cut layer takes its share of a layer drawn at full width, scaled to the variance that its own number of inputs
    asks for: exact where the builder's own initialisation goes by fan-in, and ours. The draw is none that a dense
    network of any seed starts from.
    """
    torch.manual_seed(2**63 - 1 - seed)
    fresh = dict(built.build().named_parameters())
    for name, parameter in model.named_parameters():
        drawn = fresh[name]
        share = drawn[tuple(slice(extent) for extent in parameter.shape)]
        if parameter.dim() > 1:
            share = share * (drawn[0].numel() / parameter[0].numel()) ** 0.5
        parameter.copy_(share)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
    apply(model, masks)


RECOVERIES: Mapping[str, Callable[[Pruned], TrainingPlan]] = {
    "finetune": finetune,
    "rewind": rewind,
    "distill": distill,
    "scratch": scratch,
    "scratch-b": scratch_b,
}
