"""Curricula against their controls, from trials laid out by hand."""

from pathlib import Path

import pytest

from search.cli.comparison_tables import print_comparison
from search.comparison.compare import Comparison, ComparisonRow, compare
from search.comparison.estimates import Estimate
from search.comparison.wording import network_of, warnings_of
from search.report.notebook import Compared
from search.results.status import status_of
from search.retrieval.choosing import BestRequest, choose
from search.study.cells import following
from tests.search.comparison.test_compare import outcome, study_of
from trainables.curriculum_spec import Curriculum
from trainables.outcome import Outcome

NONE = Curriculum()
EASY = Curriculum(name="easy-first")
HARD = Curriculum(name="hard-first")
RANDOM = Curriculum(name="easy-first", shuffled=True)
DENSE, DENSE_RANDOM = (each.model_copy(update={"phase": "dense"}) for each in (EASY, RANDOM))


def followed(curriculum: Curriculum, seed: int, accuracy: float, policy: str = "uniform", **told: object) -> Outcome:
    """Make a finished trial that has followed a curriculum; told: settings, or `images` of its last epoch."""
    images, sparsity = told.pop("images", None), float(told.pop("sparsity", 0.5))  # type: ignore[arg-type]
    done = outcome(policy, sparsity, seed, accuracy, **told)  # type: ignore[arg-type]
    history = done.history
    if images is not None:
        history = (*history[:-1], history[-1].model_copy(update={"images": images}))
    return done.model_copy(update={"spec": following(done.spec, curriculum), "history": history})


def rows_of(path: Path, outcomes: list[Outcome]) -> dict[tuple[str, str], ComparisonRow]:
    """Compare trials: policy and curriculum -> row."""
    return {(row.policy, row.curriculum): row for row in compare([study_of(path / "s", outcomes)]).rows}


def test_gaps_to_the_control_and_to_none_are_paired_by_seed(tmp_path: Path) -> None:
    reached = {NONE: (0.50, 0.60, 0.70), RANDOM: (0.51, 0.63, 0.71), EASY: (0.55, 0.64, 0.75), HARD: (0.4, 0.6, 0.7)}
    outcomes = [followed(c, seed, own) for c, accuracies in reached.items() for seed, own in enumerate(accuracies)]
    rows = {curriculum: row for (_, curriculum), row in rows_of(tmp_path, outcomes).items()}
    told, random = rows["easy-first linear"], rows["random order linear"]
    for gap, by_hand in (
        (told.gap_to_control, [0.04, 0.01, 0.04]),
        (told.gap_to_standard, [0.05, 0.04, 0.05]),
        (rows["hard-first linear"].gap_to_control, [-0.11, -0.03, -0.01]),
        (random.gap_to_standard, [0.01, 0.03, 0.01]),
    ):
        assert gap is not None
        expected = Estimate.of(by_hand)
        assert (gap.mean, gap.low, gap.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert random.gap_to_control is rows["standard"].gap_to_control is rows["standard"].gap_to_standard is None
    assert {name: row.control for name, row in rows.items()} == dict.fromkeys(rows, False) | {random.curriculum: True}
    assert not any(row.warnings for row in rows.values())


def test_rivals_have_the_same_policy_sparsity_recovery_and_phase(tmp_path: Path) -> None:
    outcomes = []
    ahead = {("uniform", 0.5): 0.01, ("uniform", 0.9): 0.02, ("erk", 0.5): 0.03, ("erk", 0.9): 0.04}
    for (policy, sparsity), gap in ahead.items():
        for recovery, factor in (("finetune", 1), ("distill", 2)):
            for easy, random, times in ((EASY, RANDOM, 1), (DENSE, DENSE_RANDOM, 5)):
                shared = {"policy": policy, "sparsity": sparsity, "recovery": recovery}
                outcomes += [followed(random, 0, 0.5, **shared)]  # type: ignore[arg-type]
                outcomes += [followed(easy, 0, 0.5 + gap * factor * times, **shared)]  # type: ignore[arg-type]
    rows = compare([study_of(tmp_path / "s", outcomes)]).rows
    told = {
        (row.policy, row.sparsity, row.recovery, row.curriculum): row.gap_to_control.mean
        for row in rows
        if row.gap_to_control
    }
    assert told == pytest.approx(
        {
            (policy, sparsity, recovery, curriculum): gap * factor * times
            for (policy, sparsity), gap in ahead.items()
            for recovery, factor in (("finetune", 1), ("distill", 2))
            for curriculum, times in (("easy-first linear", 1), ("dense: easy-first linear", 5))
        }
    )
    assert len({row.family for row in rows}) == 1


def test_the_gap_to_uniform_and_the_headline_stay_within_a_curriculum(tmp_path: Path) -> None:
    reached = {NONE: (0.5, 0.6), EASY: (0.7, 0.9), RANDOM: (0.2, 0.5)}
    outcomes = [
        followed(curriculum, seed, accuracy, policy)
        for curriculum, accuracies in reached.items()
        for policy, accuracy in zip(("uniform", "erk"), accuracies, strict=True)
        for seed in range(2)
    ]
    found = compare([study_of(tmp_path / "s", outcomes)])
    gaps = {row.curriculum: row.gap_to_uniform for row in found.rows if row.policy == "erk"}
    expected = {"standard": 0.1, "easy-first linear": 0.2, "random order linear": 0.3}
    assert {name: gap.mean for name, gap in gaps.items() if gap} == pytest.approx(expected)
    headline = {name: told.mean_gap for name, told in found.headline.items()}
    assert headline == pytest.approx({f"erk, {name}": gap for name, gap in expected.items()})
    assert {network_of(row) for row in found.rows} == {
        "small_cnn, weights by magnitude, finetune",
        "small_cnn, weights by magnitude, finetune, easy-first linear",
        "small_cnn, weights by magnitude, finetune, random order linear",
    }


@pytest.mark.parametrize(
    "unlike",
    [{"images": 499}, {"kept": 490}, {"short": True}],
    ids=["images", "budget", "epochs"],
)
def test_unequal_training_is_marked_and_left_out(tmp_path: Path, unlike: dict[str, object]) -> None:
    short = bool(unlike.pop("short", False))
    odd = followed(EASY, 1, 0.9, **unlike)  # type: ignore[arg-type]
    odd = odd.model_copy(update={"history": odd.history[:2]}) if short else odd
    both = [followed(curriculum, seed, 0.5) for curriculum in (NONE, RANDOM) for seed in range(2)]
    row = rows_of(tmp_path, [*both, followed(EASY, 0, 0.6), odd])["uniform", "easy-first linear"]
    assert row.gap_to_control is not None
    assert row.gap_to_control.mean == pytest.approx(0.1)  # of seed 0 alone
    assert row.gap_to_control.n == 1
    for rival in ("its control", "no curriculum"):
        told = f"budget, epochs or images differ from those of {rival}: the gap leaves out seed 1"
        assert told in row.warnings


def test_images_that_share_the_budget_are_not_training(tmp_path: Path) -> None:
    random, easy = followed(RANDOM, 0, 0.5), followed(EASY, 0, 0.6, images=600)
    assert easy.facts is not None
    easy = easy.model_copy(update={"facts": easy.facts.model_copy(update={"allocation_images": 800})})
    row = rows_of(tmp_path, [random, easy])["uniform", "easy-first linear"]
    assert row.gap_to_control is not None
    assert row.warnings == ["no curriculum has no finished trial to compare with"]


def test_a_control_that_is_missing_or_has_other_seeds_is_told(tmp_path: Path) -> None:
    alone = rows_of(tmp_path / "a", [followed(NONE, 0, 0.5), followed(EASY, 0, 0.6)])["uniform", "easy-first linear"]
    assert alone.gap_to_control is None
    assert alone.warnings == ["its control has no finished trial to compare with"]
    some = [followed(NONE, 0, 0.5), followed(NONE, 1, 0.5), followed(RANDOM, 0, 0.5)]
    rows = rows_of(tmp_path / "b", [*some, followed(EASY, 0, 0.6), followed(EASY, 1, 0.7)])
    assert rows["uniform", "easy-first linear"].warnings == ["seeds differ from those of its control"]
    assert rows["uniform", "random order linear"].warnings == ["seeds differ from those of no curriculum"]
    (told,) = warnings_of([rows["uniform", "easy-first linear"]])
    assert told == "uniform, easy-first linear at 0.5: seeds differ from those of its control"


@pytest.fixture
def small(tmp_path: Path) -> tuple[Comparison, Path]:
    """A comparison of three curricula over two seeds, one of them in dense training, and its folder."""
    reached = {NONE: 0.50, EASY: 0.56, RANDOM: 0.52, DENSE: 0.60, DENSE_RANDOM: 0.50}
    outcomes = [followed(c, seed, accuracy + seed / 50) for c, accuracy in reached.items() for seed in range(2)]
    folder = study_of(tmp_path / "s", outcomes)
    folder.write_table()
    return compare([folder]), tmp_path / "s"


def test_the_terminal_shows_each_beside_its_control(
    small: tuple[Comparison, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    print_comparison(small[0])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "0.5 uniform easy-first linear 57.0 ±12.7 +4.0 ±0.0 +6.0 ±0.0 random order linear" in lines
    assert "0.5 uniform random order linear * 53.0 ±12.7 +2.0 ±0.0" in lines
    starts = [line.partition(" 1")[0].partition(" 2")[0] for line in lines]
    assert "0.5 uniform, dense: easy-first linear" in " / ".join(starts)


def test_columns_json_and_conditions_know_them(small: tuple[Comparison, Path]) -> None:
    found, place = small
    frame = Compared.model_validate(dict(found)).table.to_pandas().set_index("curriculum")
    assert frame.loc["easy-first linear", "gap_to_control"] == pytest.approx(0.04)
    assert frame.loc["dense: easy-first linear", "gap_to_control_low"] == pytest.approx(0.1)
    assert frame.loc["random order linear", "gap_to_standard_high"] == pytest.approx(0.02)
    assert Comparison.model_validate_json(found.model_dump_json()) == found
    folder = study_of(place, [])
    linear = BestRequest(where=("curriculum==random order linear",))
    assert choose(folder.rows(), linear, lambda _: 0.0).seed == 1
    with pytest.raises(ValueError, match="did you mean 'easy-first linear'"):
        choose(folder.rows(), BestRequest(where=("curriculum==easy-frist linear",)), lambda _: 0.0)
    assert "uniform, easy-first linear" in status_of(folder).best
