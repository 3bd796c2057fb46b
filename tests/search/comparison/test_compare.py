"""Comparisons against numbers worked out by hand."""

from pathlib import Path

import pytest

from search.cli.comparison_tables import print_comparison
from search.comparison.compare import compare
from search.comparison.wording import covered, network_of
from search.results.folder import StudyFolder
from search.study.spec import StudySpec
from trainables.outcome import Facts, Outcome
from trainables.pruning_spec import Schedule
from trainables.recipe import Recipe
from trainables.spec import DenseSpec, EpochReport, TrialSpec
from trainables.storage.folder import Folder
from trainables.trial.trainable import write_outcome


def outcome(policy: str, sparsity: float, seed: int, accuracy: float, kept: int = 500, **changes: object) -> Outcome:
    """Make a finished trial whose best epoch is the second of three."""
    spec = TrialSpec(dense=DenseSpec(seed=seed), policy=policy, sparsity=sparsity).model_copy(update=changes)
    accuracies = (accuracy / 2, accuracy, accuracy - 0.01)
    judged = {"val_loss": 1.0, "seconds": 2.0, "images": 500}
    reports = [EpochReport(epoch=epoch, val_accuracy=value, **judged) for epoch, value in enumerate(accuracies)]
    facts = Facts(
        dense_accuracy=0.9,
        one_shot_accuracy=accuracy / 4,
        recalibrated_accuracy=accuracy / 2,
        params_total=1000,
        params_kept=kept,
        macs_total=9000,
        macs_kept=kept * 9,
        layers={"a": kept / 1000},
        parts={"a": kept / 1000},
        allocation_seconds=0.25,
        allocation_evaluations=7,
        allocation_images=700,
        profile_seconds=3.0,
        profile_evaluations=11,
        profile_images=1100,
        prune_seconds=1.0,
        hardware="cpu",
    )
    return Outcome(spec=spec, status="done", facts=facts, history=tuple(reports))


def study_of(path: Path, outcomes: list[Outcome], **settings: object) -> StudyFolder:
    """Write a study folder that holds these trials."""
    folder = StudyFolder(Folder.at(str(path)))
    folder.write_study(StudySpec.model_validate({"name": "s", **settings}))
    for done in outcomes:
        write_outcome(folder.trial(done.spec.key()), done)
    return folder


def test_gaps_are_paired_by_seed(tmp_path: Path) -> None:
    uniform = [outcome("uniform", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.5, 0.6, 0.7))]
    capacity = [outcome("capacity", 0.5, seed, accuracy) for seed, accuracy in enumerate((0.52, 0.62, 0.72))]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "s", [*uniform, *capacity])]).rows}
    gap = rows["capacity"].gap_to_uniform
    assert gap is not None
    assert gap.mean == pytest.approx(0.02)
    assert gap.sd == pytest.approx(0.0, abs=1e-12)
    assert rows["capacity"].best_val_accuracy.sd == pytest.approx(0.1)


def test_a_budget_that_differs_by_more_than_a_percent_is_marked(tmp_path: Path) -> None:
    close = [outcome("uniform", 0.5, 0, 0.5, kept=500), outcome("capacity", 0.5, 0, 0.5, kept=496)]
    assert not any(row.warnings for row in compare([study_of(tmp_path / "close", close)]).rows)
    far = [outcome("uniform", 0.5, 0, 0.5, kept=500), outcome("capacity", 0.5, 0, 0.5, kept=494)]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "far", far)]).rows}
    assert rows["uniform"].warnings == []
    assert "params kept differ from uniform's by 1.2%" in rows["capacity"].warnings[0]
    assert rows["capacity"].gap_to_uniform is None


@pytest.mark.parametrize(
    ("kept", "counts"),
    [(9_900, True), (9_899, False), (10_101, True), (10_102, False)],  # 1 % of the larger of the two is the most
)
def test_a_row_is_left_out_of_everything_or_of_nothing(kept: int, counts: bool, tmp_path: Path) -> None:
    rivals = (("uniform", 0.5, 10_000), ("capacity", 0.6, kept))
    outcomes = [outcome(policy, 0.5, 0, accuracy, kept=params) for policy, accuracy, params in rivals]
    found = compare([study_of(tmp_path / "s", outcomes)])
    (row,) = (row for row in found.rows if row.policy == "capacity")
    assert (not row.warnings, row.gap_to_uniform is not None, "capacity" in found.headline) == (counts,) * 3
    assert [(versus.wins, versus.losses) for versus in found.versus] == [(1, 0)] * counts


def test_without_uniform_budgets_are_held_against_the_rivals(tmp_path: Path) -> None:
    kept = {"erk": 500, "lamp": 501, "igq": 520}
    rivals = [outcome(policy, 0.5, 0, 0.5, kept=own, budget="macs") for policy, own in kept.items()]
    rows = {row.policy: row.warnings for row in compare([study_of(tmp_path / "s", rivals)]).rows}
    assert rows["erk"] == rows["lamp"] == []
    assert "macs kept differ from the rivals' median by 3.8%" in rows["igq"][0]


def test_both_budgets_are_told_as_counts_and_fractions(tmp_path: Path) -> None:
    (row,) = compare([study_of(tmp_path / "s", [outcome("uniform", 0.5, seed, 0.5, kept=480) for seed in (0, 1)])]).rows
    assert (row.params_kept, row.params_total, row.params_density) == (480, 1000, 0.48)
    assert (row.macs_kept, row.macs_total, row.macs_density) == (4320, 9000, 0.48)


def test_what_seeds_cover_is_told_from_the_trials(tmp_path: Path) -> None:
    whole = outcome("uniform", 0.5, 0, 0.5)
    pruned = outcome("uniform", 0.5, 0, 0.5, finetune=Recipe(epochs=0))
    pruned = pruned.model_copy(update={"history": pruned.history[:1]})
    given = outcome("uniform", 0.5, 0, 0.5, dense=DenseSpec(recipe=Recipe(epochs=0)))
    expected = (["dense training", "pruning", "recovery"], ["dense training", "pruning"], ["pruning", "recovery"])
    for index, (one, covers) in enumerate(zip((whole, pruned, given), expected, strict=True)):
        (row,) = compare([study_of(tmp_path / str(index), [one])]).rows
        assert row.seeds_cover == covers
    assert covered(row) == "seed 0 of pruning, recovery; all seeds share the dense network"


def test_unequal_training_is_marked_and_never_averaged(tmp_path: Path) -> None:
    short = outcome("uniform", 0.5, 0, 0.5)
    long = outcome("uniform", 0.5, 1, 0.9, finetune=Recipe(epochs=30, lr=0.01))
    rows = compare([study_of(tmp_path / "s", [short, long])]).rows
    assert sorted(row.best_val_accuracy.mean for row in rows) == [0.5, 0.9]
    assert sorted(row.warnings[0] for row in rows) == [
        f"trained or pruned unlike other rows of this model (finetune.epochs={epochs}); compare within a setting only"
        for epochs in (3, 30)
    ]
    assert {network_of(row) for row in rows} == {
        f"small_cnn, weights by magnitude, finetune (finetune.epochs={epochs})" for epochs in (3, 30)
    }


def test_unequal_training_is_left_out_of_headline_and_counts(tmp_path: Path) -> None:
    outcomes = [
        outcome(policy, 0.5, 0, accuracy, finetune=Recipe(epochs=epochs))
        for policy, accuracy in (("uniform", 0.5), ("erk", 0.6))
        for epochs in (3, 30)
    ]
    found = compare([study_of(tmp_path / "s", outcomes)])
    assert (found.headline, found.versus) == ({}, [])
    assert "left out of every headline" in found.warnings[0]
    assert [row.gap_to_uniform.mean for row in found.rows if row.gap_to_uniform and row.policy == "erk"] == (
        pytest.approx([0.1, 0.1])  # each against the uniform that was trained like it
    )


def test_widths_are_different_networks(tmp_path: Path) -> None:
    outcomes = [outcome("uniform", 0.5, 0, 0.5, dense=DenseSpec(width=width)) for width in (0.5, 1.0)]
    rows = compare([study_of(tmp_path / "s", outcomes)]).rows
    assert not any(row.warnings for row in rows)
    assert {network_of(row) for row in rows} == {
        *("small_cnn, weights by magnitude, finetune", "small_cnn x 0.5, weights by magnitude, finetune")
    }


def test_recoveries_are_paired_and_averaged_each_by_itself(tmp_path: Path) -> None:
    reached = {("uniform", "finetune"): 0.5, ("erk", "finetune"): 0.6, ("uniform", "scratch"): 0.7}
    reached[("erk", "scratch")] = 0.9
    outcomes = [
        outcome(policy, 0.5, seed, accuracy + seed / 100, recovery=recovery)
        for (policy, recovery), accuracy in reached.items()
        for seed in range(2)
    ]
    found = compare([study_of(tmp_path / "s", outcomes)])
    rows = {(row.policy, row.recovery): row for row in found.rows}
    assert {key: row.best_val_accuracy.mean - 0.005 for key, row in rows.items()} == pytest.approx(reached)
    gaps = {recovery: row.gap_to_uniform for (policy, recovery), row in rows.items() if policy == "erk"}
    assert {recovery: gap.mean for recovery, gap in gaps.items() if gap} == pytest.approx(
        {"finetune": 0.1, "scratch": 0.2}
    )
    assert {name: h.mean_gap for name, h in found.headline.items()} == pytest.approx(
        {"erk, finetune": 0.1, "erk, scratch": 0.2}
    )
    assert not any(row.warnings for row in found.rows)
    assert len({row.family for row in found.rows}) == 1  # one table
    assert {row.recovery: row.control for row in found.rows} == {"finetune": False, "scratch": True}
    assert {network_of(row) for row in found.rows} == {
        *("small_cnn, weights by magnitude, finetune", "small_cnn, weights by magnitude, scratch")
    }


def test_a_schedule_is_told_by_its_name(tmp_path: Path) -> None:
    stepwise = outcome("uniform", 0.5, 0, 0.5, schedule=Schedule(name="gradual", steps=3))
    rows = compare([study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.6), stepwise])]).rows
    assert sorted(row.schedule for row in rows) == ["gradual", "one-shot"]
    assert "small_cnn, weights by magnitude, gradual, finetune" in map(network_of, rows)
    assert not any(row.warnings for row in rows)


def test_missing_seeds_are_marked(tmp_path: Path) -> None:
    outcomes = [outcome("uniform", 0.5, 0, 0.5), outcome("uniform", 0.5, 1, 0.6), outcome("capacity", 0.5, 1, 0.7)]
    rows = {row.policy: row for row in compare([study_of(tmp_path / "s", outcomes)]).rows}
    assert rows["capacity"].warnings == ["seeds differ from uniform's"]
    gap = rows["capacity"].gap_to_uniform
    assert gap is not None
    assert gap.mean == pytest.approx(0.1)
    assert gap.low is None


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finished trials"):
        compare([study_of(tmp_path / "s", [])])


def test_fixed_parameters_are_in_the_rows_and_over_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def left(policy: str, more: int | None) -> list[Outcome]:
        done = [outcome(policy, 0.5, seed, 0.5, kept=500) for seed in (0, 1)]
        return [
            each.model_copy(update={"facts": each.facts and each.facts.model_copy(update={"params_fixed": more})})
            for each in done
        ]

    outcomes = [*left("uniform", 1500), *left("erk", 2000), *left("lamp", 0), *left("igq", None)]
    found = compare([study_of(tmp_path / "s", outcomes)])
    assert {row.policy: row.params_fixed for row in found.rows} == {
        "uniform": 1500,
        "erk": 2000,
        "lamp": 0,
        "igq": None,
    }
    print_comparison(found)
    printed = capsys.readouterr().out
    assert "fixed: 1,500 to 2,000 other parameters (75.0 to 80.0 % of all), in no budget" in printed
    assert found.warnings == ["small_cnn: 2,000 of 3,000 parameters (66.7 %) are fixed: never pruned, and in no budget"]
    print_comparison(compare([study_of(tmp_path / "n", [*left("uniform", 0), *left("erk", None)])]))
    assert "fixed" not in capsys.readouterr().out
