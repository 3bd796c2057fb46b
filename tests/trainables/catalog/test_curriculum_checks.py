"""What is refused of a curriculum before anything is trained."""

from pathlib import Path

import pytest

from trainables.catalog import checks
from trainables.catalog.curriculum_checks import complaints
from trainables.curriculum_spec import Curriculum
from trainables.pruning_spec import Gates
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, TrialSpec

EASY = Curriculum(name="easy-first")


def trial(curriculum: Curriculum, **changes: object) -> TrialSpec:
    """A trial that follows this curriculum where its phase says."""
    if curriculum.phase == "dense":
        return TrialSpec(dense=DenseSpec(curriculum=curriculum)).model_copy(update=changes)
    return TrialSpec(curriculum=curriculum).model_copy(update=changes)


@pytest.mark.parametrize(
    "curriculum",
    [
        Curriculum(),
        EASY,
        Curriculum(name="hard-first", pacing="root", start=0.5, full=1.0, measure="el2n", network="vgg16"),
        Curriculum(name="drop-hardest", fraction=0.5, balanced=False, phase="dense"),
        Curriculum(name="weigh-easy", shuffled=True, measure="aum"),
        Curriculum(name="easy-first", shuffled=True, pacing="step"),
    ],
    ids=lambda curriculum: curriculum.key(),
)
def test_what_fits_together_is_not_refused(curriculum: Curriculum) -> None:
    assert complaints(trial(curriculum)) == []


@pytest.mark.parametrize(
    ("curriculum", "complaint"),
    [
        (Curriculum(name="esay-first"), "curriculum must be a known name, but got 'esay-first'; did you mean 'easy-"),
        (Curriculum(name="easy-first", pacing="liner"), "pacing must be a known name, but got 'liner'; did you mean"),
        (Curriculum(name="weigh-easy", measure="el2m"), "measure must be a known name, but got 'el2m'; did you mean"),
        (
            Curriculum(name="drop-easiest", pacing="root", start=0.5),
            "must come without pacing, start, which it does not",
        ),
        (
            Curriculum(name="easy-first", fraction=0.5),
            "curriculum 'easy-first' must come without fraction",
        ),
        (
            Curriculum(name="easy-first", shuffled=True, measure="el2n"),
            "must come without measure",
        ),
        (
            Curriculum(measure="el2n"),
            "curriculum 'standard' must come without measure",
        ),
        (
            Curriculum(phase="dense"),
            "curriculum 'standard' must come without phase",
        ),
        (Curriculum(name="easy-first", network="resnet2"), "model must be a known name, but got 'resnet2'; did you"),
        (Curriculum(name="easy-first", network="vgg16", table="x"), "from a network or from a table, but got both"),
        (Curriculum(name="easy-first", table="/nowhere/samples.parquet"), "/nowhere/samples.parquet does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_rest(curriculum: Curriculum, complaint: str) -> None:
    (told,) = complaints(trial(curriculum))
    assert complaint in told
    assert told in checks.conflicts(trial(curriculum))


def test_all_is_told_at_once() -> None:
    curriculum = Curriculum(name="drop-hardest", pacing="root", measure="el2m", network="resnet2")
    assert len(complaints(trial(curriculum))) == 3


def test_a_curriculum_stands_in_its_phase_and_alone() -> None:
    (told,) = complaints(TrialSpec(dense=DenseSpec(curriculum=EASY)))
    assert told == "curriculum 'easy-first' must be in its phase, 'finetune', but is in dense training"
    dense = EASY.model_copy(update={"phase": "dense"})
    (told,) = complaints(TrialSpec(curriculum=dense))
    assert told == "curriculum 'easy-first' must be in its phase, 'dense', but is in recovery"
    (told,) = complaints(TrialSpec(dense=DenseSpec(curriculum=dense), curriculum=EASY))
    assert "must follow one curriculum" in told


def test_scores_need_a_recorded_training_or_a_table(tmp_path: Path) -> None:
    unrecorded, untrained = DenseSpec(record="off"), DenseSpec(recipe=Recipe(epochs=0))
    (told,) = complaints(trial(EASY, dense=unrecorded))
    assert "must get its scores from a recorded dense training, but got 'off'; set records.dense" in told
    (told,) = complaints(trial(EASY, dense=untrained))
    assert "must get its scores from a dense training, but got 0 epochs; raise dense.epochs, or give a table" in told
    (tmp_path / "samples.parquet").write_bytes(b"")
    by_table = Curriculum(name="easy-first", table=str(tmp_path / "samples.parquet"))
    by_chance = Curriculum(name="easy-first", shuffled=True)
    for curriculum in (by_table, by_chance):
        assert complaints(trial(curriculum, dense=unrecorded)) == []


@pytest.mark.parametrize("recovery", ["finetune", "distill", "rewind"])
def test_there_must_be_a_training_to_follow_it(recovery: str) -> None:
    (told,) = complaints(trial(EASY, recovery=recovery, finetune=Recipe(epochs=0)))
    assert f"recovery {recovery!r} has no epochs; raise finetune.epochs" in told
    assert complaints(trial(EASY, recovery="scratch", finetune=Recipe(epochs=0))) == []
    joint = {"policy": "gates-joint", "gates": Gates(epochs=3), "finetune": Recipe(epochs=3)}
    assert len(complaints(trial(EASY, **joint))) == 1
    dense = Curriculum(name="drop-easiest", phase="dense", table="x", shuffled=False)
    untrained = DenseSpec(curriculum=dense, recipe=Recipe(epochs=0))
    assert (
        "must have a training that follows it, but got 0 epochs; raise dense.epochs"
        in complaints(TrialSpec(dense=untrained))[-1]
    )
