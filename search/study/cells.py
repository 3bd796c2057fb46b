"""Cells of a study: the settings that trials of different policies share, and the curricula of a cell."""

from trainables.curriculum_spec import Curriculum
from trainables.spec import TrialSpec


def following(spec: TrialSpec, curriculum: Curriculum) -> TrialSpec:
    """Return the same trial with the curriculum in its phase, and standard training in the other phase."""
    dense, recovery = (curriculum, Curriculum()) if curriculum.phase == "dense" else (Curriculum(), curriculum)
    return spec.model_copy(
        update={"dense": spec.dense.model_copy(update={"curriculum": dense}), "curriculum": recovery}
    )


def cell_key(spec: TrialSpec) -> str:
    """Return the key of a trial's cell: of all settings but the policy and those that only the policy uses."""
    return spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None}).key()
