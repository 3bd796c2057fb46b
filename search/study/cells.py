"""Cells of a study: what trials of different policies share, and the curricula that they follow."""

from trainables.curriculum_spec import Curriculum
from trainables.spec import TrialSpec


def following(spec: TrialSpec, curriculum: Curriculum) -> TrialSpec:
    """Return the same trial where the training of the curriculum's phase follows it, and the other training none."""
    dense, own = (curriculum, Curriculum()) if curriculum.phase == "dense" else (Curriculum(), curriculum)
    return spec.model_copy(update={"dense": spec.dense.model_copy(update={"curriculum": dense}), "curriculum": own})


def cell_key(spec: TrialSpec) -> str:
    """Return the key of all that a trial shares with its rivals: everything but the policy and its own settings."""
    return spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None}).key()
