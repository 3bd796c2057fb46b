"""What a task of the user's own cannot do yet: found in the settings, before anything is imported."""

from trainables.data_spec import DataSpec
from trainables.own_function import is_external
from trainables.pruning_spec import Distillation
from trainables.recipe import Recipe
from trainables.spec import TrialSpec

OF_TASKS = ("task", "content", "max_train", "max_val", "max_test", "split_seed")  # fields of the data that a task has
RECIPES_OF_LABELS = ("label_smoothing", "loss_weights", "mixup", "cutmix")  # settings of recipes for images with labels
OF_LABELS = {"capacity-functional": "reads the share of correct answers"}  # policies


def complaints(spec: TrialSpec) -> list[str]:
    """List the settings that need images with labels, where a trial has a task of the user's own."""
    function = spec.dense.data.task.function
    if not function:
        return []
    found = [f"task must be package.module:function, but got {function!r}"] if not is_external(function) else []
    data, plain = spec.dense.data, DataSpec()
    for name in DataSpec.model_fields:
        if name not in OF_TASKS and getattr(data, name) != getattr(plain, name):
            found.append(f"data.{name} must be left out with a task, which gives its own samples; leave it out")
    for name, recipe in (("dense", spec.dense.recipe), ("finetune", spec.finetune)):
        found += [
            f"{name}.{setting} must be left out with a task, which has its own loss; leave it out"
            for setting in RECIPES_OF_LABELS
            if getattr(recipe, setting) != getattr(Recipe(), setting)
        ]
    for pruning in spec.prunings:
        if pruning.policy in OF_LABELS:
            found.append(
                f"policy {pruning.policy!r} must have images with labels, as it {OF_LABELS[pruning.policy]}, but the "
                "study has a task; choose another"
            )
        if "probe" in pruning.inputs:
            found.append(
                f"criterion {pruning.criterion!r} must have images with labels, as its probes classify them, but the "
                "study has a task; choose another"
            )
    if spec.scored:
        found.append(
            "curricula must have images with labels, as they need to know what a correct answer is, but the study has "
            "a task; leave them out"
        )
    if spec.record != "off":
        found.append("records.finetune must be off with a task, whose samples have no correct answer; leave it out")
    return found


def distillation_complaint(settings: Distillation, logits: int | None) -> list[str]:
    """Complain of a temperature where the outputs of a task are no logits."""
    if logits is not None or settings.temperature == 1.0:
        return []
    return [
        "distillation.temperature must be 1 for a task whose outputs are no logits, but got "
        f"{settings.temperature:g}; set it to 1, or say in the Task which axis of its logits has the classes"
    ]
