"""How much a run says: quiet, normal and verbose."""

import pytest

from search.results.folder import StudyFolder
from search.running.dense_progress import dense_watch
from search.running.messages import Messages, Verbosity
from search.running.progress import Progress
from tests.search.reports import trial_row
from tests.trainables.trials import DENSE

FAILED = "a trial of erk at sparsity 0.5 failed: loss must stay finite"
ENDED = (
    "trial uniform-0.5-0 (resnet56, uniform by magnitude at sparsity 0.5, seed 0): done, 90.0 %, 60.0 s; 1 of 2 trials"
)


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        ("quiet", [FAILED, "search is exhausted"]),
        ("normal", ["2 trials to run", "1 of 2 trials", FAILED, "2 of 2 trials", "search is exhausted"]),
        ("verbose", ["2 trials to run", ENDED, FAILED, "trial erk-0.5-0", "search is exhausted"]),
    ],
)
def test_warnings_are_always_shown(verbosity: Verbosity, shown: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(verbosity) as progress:
        progress.planned(2)
        progress.ended(trial_row("uniform", 0.5, 0, 0.9, 2))
        progress.ended(trial_row("erk", 0.5, 0, 0.9, 2, status="failed", error="loss must stay finite"))
        progress.dropped(0, "search is exhausted")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(shown)
    assert all(f" s  {text}" in line for line, text in zip(lines, shown, strict=True))


def test_an_unknown_verbosity_is_refused() -> None:
    with pytest.raises(ValueError, match=r"progress must be a known name, but got 'verbos'; did you mean 'verbose'\?"):
        Messages("verbos")  # type: ignore[arg-type]


def test_a_verbose_run_names_each_epoch_of_dense_training_once(trained: StudyFolder) -> None:
    watch = dense_watch([DENSE], trained.folder.parent, verbose=True)
    lines = list(watch.lines())
    assert [line.rpartition(", ")[0] for line in lines] == [
        f"dense network small_cnn, seed 1: epoch {epoch} of 3" for epoch in range(4)
    ]
    assert list(watch.lines()) == []
