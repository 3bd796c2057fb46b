"""Curricula of a study: what they expand to, how their trials are named, and what is refused."""

import re

import pytest

from search.cli.catalog import listing
from search.report.provenance import run_command
from search.results.names import curriculum_name
from search.results.rows import row_of
from search.study.cells import cell_key, following
from search.study.reading import parse_study, read_study
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome
from trainables.curriculum_spec import Curriculum
from trainables.learnability.curricula import PACINGS
from trainables.learnability.curriculum_kinds import CURRICULA
from trainables.learnability.measures import MEASURES
from trainables.spec import DenseSpec, TrialSpec

EASY = Curriculum(name="easy-first")
RANDOM = Curriculum(name="easy-first", shuffled=True)
DENSE = Curriculum(name="drop-hardest", phase="dense", fraction=0.2)


def test_standard_training_and_each_control_come_by_themselves_once() -> None:
    told = ("easy-first", {"name": "hard-first"}, DENSE)
    study = StudySpec.model_validate({"name": "s", "curricula": told})
    hard, dropped = Curriculum(name="hard-first"), DENSE.model_copy(update={"shuffled": True})
    assert study.all_curricula() == (Curriculum(), EASY, RANDOM, hard, DENSE, dropped)
    named = StudySpec.model_validate({"name": "s", "curricula": ("standard", RANDOM, "easy-first")})
    assert named.all_curricula() == (Curriculum(), RANDOM, EASY)
    assert StudySpec(name="s").all_curricula() == (Curriculum(),)


def test_every_curriculum_is_tried_in_every_cell_in_its_phase() -> None:
    study = StudySpec(name="s", curricula=(EASY, DENSE), policies=("uniform", "searched"), seeds=(0, 1))
    plain = StudySpec(name="s", policies=("uniform", "searched"), seeds=(0, 1))
    trials = study.trials()
    assert len({trial.key() for trial in trials}) == len(trials) == 5 * len(plain.trials())
    by_curriculum = {c: [t for t in trials if t.followed == c] for c in study.all_curricula()}
    assert {trial.key() for trial in by_curriculum[Curriculum()]} == {trial.key() for trial in plain.trials()}
    assert {(t.curriculum, t.dense.curriculum) for t in by_curriculum[EASY]} == {(EASY, Curriculum())}
    assert {(t.curriculum, t.dense.curriculum) for t in by_curriculum[DENSE]} == {(Curriculum(), DENSE)}
    assert len(study.searches()) == 5 * len(plain.searches())
    assert all(len({cell.followed for cell in cells}) == 1 for _, cells in study.searches())


def test_records_are_settings_of_every_trial_and_a_bare_off_is_a_word() -> None:
    study = parse_study("digits", ["records.dense=off", "records.finetune=after", "seeds=[0]"])
    assert {(trial.dense.record, trial.record) for trial in study.trials()} == {("off", "after")}
    assert {(t.dense.record, t.record) for t in parse_study("digits").trials()} == {("during", "off")}


def test_rows_know_their_family_their_control_and_their_rival_without_a_curriculum() -> None:
    spec = TrialSpec(dense=DenseSpec(model="vgg16", seed=3), recovery="rewind", policy="erk", sparsity=0.9)
    plain, easy, random, dense = (
        row_of(outcome("erk", 0.9, 3, 0.5).model_copy(update={"spec": following(spec, curriculum)}))
        for curriculum in (Curriculum(), EASY, RANDOM, DENSE)
    )
    labels = ["standard", "easy-first linear", "random order linear", "dense: drop-hardest 20 %"]
    assert [row.curriculum for row in (plain, easy, random, dense)] == labels
    assert len({row.family for row in (plain, easy, random, dense)}) == 1
    assert len({row.setting for row in (plain, easy, random, dense)}) == 4
    assert (easy.control_setting, random.control_setting, plain.control_setting) == (random.setting, "", "")
    assert [row.standard_setting for row in (plain, easy, random)] == ["", plain.setting, plain.setting]
    assert dense.control_setting not in ("", random.setting)
    assert plain.cell == cell_key(spec)


def test_a_row_without_a_curriculum_is_named_as_before_there_were_any() -> None:
    row = row_of(outcome("uniform", 0.5, 0, 0.5))
    assert (row.trial, row.family) == ("44136fa355b3678a", "44136fa355b3678a")
    assert row.setting == row.cell == row.family


@pytest.mark.parametrize(
    ("curricula", "complaint"),
    [
        ("[easy]", "curriculum must be a known name, but got 'easy'; did you mean 'weigh-easy' or 'easy-first'?"),
        ("[{name: easy-first, pacng: root}]", "curricula.0.pacng must be a known setting, but is not; did you mean"),
        ("[easy-first, easy-first]", "curricula must differ from each other, but got ['easy-first', 'easy-first']"),
        ("[{name: easy-first, start: 0}]", "curricula.0.start must be greater than 0"),
        ("[{name: drop-hardest, pacing: root}]", "must come without pacing, which it does not use"),
    ],
)
def test_a_wrong_curriculum_is_refused_before_anything_runs(curricula: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_study("digits", [f"curricula={curricula}"])


def test_a_misspelt_setting_within_a_list_is_told_like_any_other() -> None:
    with pytest.raises(ValueError, match=re.escape("before.0.critrion must be a known setting, but is not; did you")):
        read_study("digits", ["before=[{granularity: block, critrion: probe, policy: by-score, sparsity: 0.1}]"])


def test_the_command_of_a_page_gives_the_curricula_back() -> None:
    told = "curricula=[easy-first,{name: drop-hardest,phase: dense,balanced: false},{name: weigh-hard,measure: el2n}]"
    study = parse_study("digits", [told, "records.dense=off"])
    command = run_command(study)
    assert "'curricula=[{name: easy-first},{name: drop-hardest,phase: dense,balanced: false}," in command
    setting = next(part for part in re.findall(r"'([^']*)'", command) if part.startswith("curricula="))
    assert parse_study("digits", [setting]).curricula == study.curricula


def test_the_catalog_tells_of_all_of_them() -> None:
    for kind, table in (("curricula", CURRICULA), ("pacings", PACINGS), ("measures", MEASURES)):
        entries = listing(kind)[kind]
        assert set(entries) - {"package.module:function"} == set(table)
        assert all(len(about) > 20 for about in entries.values())


def test_labels_of_what_a_study_adds_differ() -> None:
    names = [name for name in CURRICULA if name != "standard"]
    each = [{"name": name, "phase": phase} for name in names for phase in ("finetune", "dense")]
    study = StudySpec.model_validate({"name": "s", "curricula": each})
    labels = [curriculum_name(curriculum) for curriculum in study.all_curricula()]
    assert len(set(labels)) == len(labels)
