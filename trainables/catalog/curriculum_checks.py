"""Find mistakes in the curriculum of a trial without torch and before anything is trained."""

from trainables.curriculum_spec import Curriculum
from trainables.learnability.curriculum_kinds import is_scored, kind_of
from trainables.models import known
from trainables.names import DRAWN_AGAIN, NAMES, unknown
from trainables.own_function import is_external
from trainables.plugins import name_complaints
from trainables.spec import TrialSpec

NONE = Curriculum()
OF_SCORES = ("measure", "network", "table")  # settings of curricula that use scores
OF_ALL = ("phase", "balanced", "shuffled")  # settings of every curriculum but the standard one


def complaints(spec: TrialSpec) -> list[str]:
    """List what is wrong with the curricula of dense training and of recovery."""
    dense, recovery = spec.dense.curriculum, spec.curriculum
    if NONE not in (dense, recovery):
        return [
            f"a trial must follow one curriculum, but got {dense.name!r} in dense training and {recovery.name!r} in "
            "recovery; leave one out"
        ]
    curriculum = spec.followed
    if curriculum == NONE:
        return []
    if problems := name_complaints("curriculum", curriculum.name):
        return problems
    if (curriculum.phase == "dense") != (curriculum == dense):
        training = "dense training" if curriculum == dense else "recovery"
        return [f"curriculum {curriculum.name!r} must be in its phase, {curriculum.phase!r}, but is in {training}"]
    return [*_of_settings(curriculum), *_of_scores(spec), *_of_epochs(spec)]


def _of_settings(curriculum: Curriculum) -> list[str]:
    """List the settings that the curriculum does not use, and the names that are unknown."""
    used = {*kind_of(curriculum.name).method.settings, *(OF_SCORES if is_scored(curriculum) else ())}
    used |= {*OF_ALL} if curriculum.name != NONE.name else set()
    changed = curriculum.model_dump(exclude_defaults=True, exclude={"name", "content", "code"})
    problems = []
    if unused := [setting for setting in changed if setting not in used]:
        problems.append(
            f"curriculum {curriculum.name!r} must come without {', '.join(unused)}, which it does not use; leave them "
            "out, or name another curriculum"
        )
    if "pacing" in used:
        problems += unknown("pacing", curriculum.pacing)
    if "measure" in used:
        problems += name_complaints("measure", curriculum.measure)
    return problems


def _of_scores(spec: TrialSpec) -> list[str]:
    curriculum = spec.followed
    if not is_scored(curriculum):
        return []
    label = f"curriculum {curriculum.name!r}"
    if curriculum.network and curriculum.table:
        return [f"{label} must get its scores from a network or from a table, but got both; leave one out"]
    if curriculum.table and is_external(curriculum.measure):
        return [
            f"{label} must read a measure of the catalog from its table, but got {curriculum.measure!r}; leave out the "
            "table, or name another measure"
        ]
    if curriculum.table:
        return _of_table(label, curriculum.table)
    problems = []
    if curriculum.network:
        try:
            known.check(curriculum.network, spec.dense.width)
        except ValueError as error:
            problems.append(f"{label} must get its scores from a network that can be built: {error}")
    if spec.dense.record == "off":
        problems.append(f"{label} must get its scores from a recorded dense training, but got 'off'; set records.dense")
    if spec.dense.recipe.epochs == 0:
        problems.append(
            f"{label} must get its scores from a dense training, but got 0 epochs; raise dense.epochs, or give a table"
        )
    return problems


def _of_table(label: str, table: str) -> list[str]:
    from trainables.storage.folder import Folder  # pyarrow is imported only for a curriculum with a table

    file = Folder.at(table)
    if file.parent.has(file.name):
        return []
    return [f"{label} must get its scores from samples.parquet of howcompact learnability, but {table} does not exist"]


def _of_epochs(spec: TrialSpec) -> list[str]:
    label, dense = f"curriculum {spec.followed.name!r}", spec.dense.recipe.epochs
    if spec.followed.phase == "dense":
        return [] if dense else [f"{label} must have a training that follows it, but got 0 epochs; raise dense.epochs"]
    if (spec.recovery not in NAMES["recovery"] and not is_external(spec.recovery)) or epochs_of_recovery(spec) > 0:
        return []
    return [
        f"{label} must have a training that follows it, but recovery {spec.recovery!r} has no epochs; raise "
        f"{'dense' if spec.recovery in DRAWN_AGAIN else 'finetune'}.epochs"
    ]


def epochs_of_recovery(spec: TrialSpec) -> int:
    """Count the epochs of recovery, without the epochs of jointly trained gates."""
    if spec.recovery in DRAWN_AGAIN:
        return spec.dense.recipe.epochs
    return spec.finetune.epochs - (spec.gates.epochs if spec.joint else 0)
