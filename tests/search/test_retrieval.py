"""Which trial is the best one, and where its copy may go."""

from pathlib import Path

import pytest

from search.results import TrialRow, row_of
from search.retrieval import best, choose
from tests.search.test_comparison import outcome, study_of
from trainables.outcome import Outcome
from trainables.spec import TrialSpec

ROWS = [
    row_of(outcome("uniform", 0.5, 0, 0.9, kept=500)),
    row_of(outcome("capacity", 0.9, 0, 0.8, kept=100)),
    row_of(outcome("capacity", 0.9, 1, 0.7, kept=100)),
    row_of(Outcome(spec=TrialSpec(policy="erk"), status="failed", error="x")),
]


@pytest.mark.parametrize(
    ("where", "policy", "expected"),
    [
        ([], None, 0),
        (["sparsity>=0.9"], None, 1),
        (["sparsity>0.5", "seed==1"], None, 2),
        (["params<=0.2"], None, 1),
        (["macs<=0.2", "val_accuracy<0.75"], None, 2),
        (["params_kept<200"], None, 1),
        ([], "capacity", 1),
    ],
)
def test_the_best_trial_meets_every_constraint(where: list[str], policy: str | None, expected: int) -> None:
    assert choose(ROWS, where, policy) == ROWS[expected]


def test_of_equal_trials_the_smaller_network_is_best() -> None:
    rows: list[TrialRow] = [row_of(outcome("uniform", s, 0, 0.8, kept=k)) for s, k in ((0.5, 500), (0.9, 100))]
    assert choose(rows, [], None).params_kept == 100


@pytest.mark.parametrize(
    ("where", "policy", "complaint"),
    [
        (["sparsity>=0.99"], None, "none of 3 does"),
        (["sparsety>=0.9"], None, "did you mean 'sparsity'"),
        (["sparsity=0.9"], None, "--where must be like"),
        (["model>=0.9"], None, "--where must be a known name"),
        (["sparsity>=..1"], None, "--where must compare with a number"),
        ([], "capacty", "did you mean 'capacity'"),
    ],
)
def test_a_wrong_question_is_refused(where: list[str], policy: str | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose(ROWS, where, policy)


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    folder = study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.5)])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.tex").write_text("years of work")
    with pytest.raises(ValueError, match="--out must be a new folder"):
        best(folder, [], None, str(tmp_path / "thesis"))
    assert (tmp_path / "thesis" / "draft.tex").read_text() == "years of work"
