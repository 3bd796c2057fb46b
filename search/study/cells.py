"""Cells of a study: what trials of different policies share, and the curricula that they follow."""

from trainables.spec import Curriculum, TrialSpec


def control_of(curriculum: Curriculum) -> Curriculum | None:
    """The control that a curriculum is held against; None where it has none, or is one itself."""
    if curriculum == Curriculum():
        return None
    from trainables.learnability.curricula import CURRICULA, control  # brings torch

    return control(curriculum) if curriculum.name in CURRICULA else None  # unknown ones are refused elsewhere


def following(spec: TrialSpec, curriculum: Curriculum) -> TrialSpec:
    """The same trial, but that the training that this curriculum is for follows it, and the other none."""
    dense, own = (curriculum, Curriculum()) if curriculum.phase == "dense" else (Curriculum(), curriculum)
    return spec.model_copy(update={"dense": spec.dense.model_copy(update={"curriculum": dense}), "curriculum": own})


def cell_key(spec: TrialSpec) -> str:
    """Name of what a trial shares with its rivals: everything but the policy and what only that needs."""
    return spec.under(TrialSpec().policy, spec.gates).model_copy(update={"densities": None}).key()
