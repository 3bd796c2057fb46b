"""What a task of the user's own cannot do. The settings show some of it, and the imported task the rest."""

from trainables.data_spec import DataSpec
from trainables.learnability.curriculum_kinds import is_scored
from trainables.names import MEASURES_OF_LABELS, NAMES
from trainables.own_function import is_external
from trainables.pruning_spec import Distillation
from trainables.recipe import Recipe
from trainables.spec import TrialSpec

OF_TASKS = ("task", "content", "max_train", "max_val", "max_test", "split_seed")  # fields of the data that a task has
OF_LABELLED_IMAGES = ("label_smoothing", "loss_weights", "mixup", "cutmix")  # settings of recipes
OF_HITS = ("capacity-functional",)  # policies that read the share of right answers


def complaints(spec: TrialSpec) -> list[str]:
    """List the settings that no task of the user's own has, where a trial has one."""
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
            for setting in OF_LABELLED_IMAGES
            if getattr(recipe, setting) != getattr(Recipe(), setting)
        ]
    return found


def complaints_of_hits(spec: TrialSpec, hits: bool, labels: bool) -> list[str]:
    """List the settings that must know which outputs of a task are right, or the labels of its samples.

    hits, labels: whether the Task of the trial says so.
    """
    function = spec.dense.data.task.function
    own = [c for c in spec.scored if is_scored(c) and not c.table]  # a table has scores from elsewhere
    asking = [
        *(f"policy {pruning.policy!r}" for pruning in spec.prunings if pruning.policy in OF_HITS),
        *(f"curriculum {curriculum.name!r}" for curriculum in own),
        *(["records.dense"] if spec.dense.record == "after" else []),  # by default only what can be is recorded
        *(["records.finetune"] if spec.record != "off" else []),
    ]
    found = [
        f"criterion {pruning.criterion!r} must read labels for its linear probes, but task {function!r} has none; give "
        "its Task labels, or choose another criterion"
        for pruning in spec.prunings
        if "probe" in pruning.inputs and not labels
    ]
    if not (hits or labels):
        return found + [
            f"{asker} must know which outputs are right, but task {function!r} does not say so; give its Task hits, or "
            f"leave {asker} out"
            for asker in asking
        ]
    return found + [
        f"measure {curriculum.measure!r} of a curriculum must read labels, but task {function!r} has none; give its "
        f"Task labels, or use {', '.join(name for name in NAMES['measure'] if name not in MEASURES_OF_LABELS)}"
        for curriculum in own
        if curriculum.measure in MEASURES_OF_LABELS and not labels
    ]


def distillation_complaint(settings: Distillation, logits: int | None) -> list[str]:
    """Complain of a temperature where the outputs of a task are no logits."""
    if logits is not None or settings.temperature == 1.0:
        return []
    return [
        "distillation.temperature must be 1 for a task whose outputs are no logits, but got "
        f"{settings.temperature:g}; set it to 1, or say in the Task which axis of its logits has the classes"
    ]
