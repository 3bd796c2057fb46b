"""What is wrong with the curriculum of a trial, told before anything is trained."""

from torch import nn

from trainables.allocation.policies import POLICIES
from trainables.learnability.curricula import CURRICULA, PACINGS, is_scored
from trainables.learnability.measures import MEASURES
from trainables.lookup import did_you_mean
from trainables.models import hub
from trainables.spec import Curriculum, TrialSpec
from trainables.storage.folder import Folder
from trainables.training.recovery import RECOVERIES, Pruned

NONE = Curriculum()
SCORING = ("measure", "network", "table")  # settings of curricula that go by scores


def complaints(spec: TrialSpec) -> list[str]:
    """Say all that is wrong with what dense training and recovery follow."""
    dense, own = spec.dense.curriculum, spec.curriculum
    if NONE not in (dense, own):
        told = f"but got {dense.name!r} in dense training and {own.name!r} in recovery; leave one out"
        return [f"a trial must follow one curriculum, {told}"]
    curriculum = spec.followed
    if curriculum == NONE:
        return []
    if curriculum.name not in CURRICULA:
        return [str(did_you_mean("curriculum", curriculum.name, CURRICULA))]
    if (curriculum.phase == "dense") != (curriculum == dense):
        place = "dense training" if curriculum == dense else "recovery"
        return [f"curriculum {curriculum.name!r} must be in its phase, {curriculum.phase!r}, but is in {place}"]
    return [*_of_settings(curriculum), *_of_scores(spec), *_of_epochs(spec)]


def _of_settings(curriculum: Curriculum) -> list[str]:
    """Say which settings it has no use for, and which names are unknown."""
    used = {*CURRICULA[curriculum.name].method.settings, *(SCORING if is_scored(curriculum) else ())}
    used |= {"phase", "balanced", "shuffled"} if curriculum.name != NONE.name else set()
    changed = curriculum.model_dump(exclude_defaults=True, exclude={"name"})
    found = []
    if unused := [setting for setting in changed if setting not in used]:
        told = f"{', '.join(unused)}, which it has no use for; leave that out, or name another"
        found.append(f"curriculum {curriculum.name!r} must come without {told}")
    for setting, known in (("pacing", PACINGS), ("measure", MEASURES)):
        if setting in used and getattr(curriculum, setting) not in known:
            found.append(str(did_you_mean(setting, getattr(curriculum, setting), known)))
    return found


def _of_scores(spec: TrialSpec) -> list[str]:
    curriculum = spec.followed
    if not is_scored(curriculum):
        return []
    who = f"curriculum {curriculum.name!r}"
    if curriculum.network and curriculum.table:
        return [f"{who} must be scored by a network or by a table, but got both; leave one out"]
    if curriculum.table:
        file = Folder.at(curriculum.table)
        told = f"{who} must have its table, samples.parquet of howcompact learnability"
        return [] if file.parent.has(file.name) else [f"{told}, but {curriculum.table} is not there"]
    found = []
    if curriculum.network:
        try:
            hub.check(curriculum.network, spec.dense.width)
        except ValueError as error:
            found.append(f"{who} must be scored by a network that can be built: {error}")
    if spec.dense.record == "off":
        found.append(f"{who} must be scored by a dense training that is recorded, but got 'off'; set records.dense")
    if spec.dense.recipe.epochs == 0:
        found.append(f"{who} must be scored by a dense training, but got 0 epochs; raise dense.epochs, or give a table")
    return found


def _of_epochs(spec: TrialSpec) -> list[str]:
    who = f"curriculum {spec.followed.name!r}"
    if spec.followed.phase == "dense":
        dense = spec.dense.recipe.epochs
        return [] if dense else [f"{who} must have a training to follow it, but got 0 epochs; raise dense.epochs"]
    if not (spec.recovery in RECOVERIES and spec.policy in POLICIES):
        return []
    epochs = RECOVERIES[spec.recovery](Pruned(spec, 1.0, nn.Identity)).epochs
    told = f"but recovery {spec.recovery!r} has {epochs} epochs; raise finetune.epochs"
    return [] if epochs > 0 else [f"{who} must have a training to follow it, {told}"]
