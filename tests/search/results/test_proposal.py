"""The command that takes the best network asks for what the study has."""

import shlex

from search.results.proposal import best_command
from tests.search.reports import trial_row


def constraint(*sparsities: float, status: str = "done") -> str | None:
    rows = [trial_row("erk", sparsity, 0, 0.9, 2, status=status) for sparsity in sparsities]
    command = best_command("/home/two words/it's", rows)
    if command is None:
        return None
    words = shlex.split(command)
    assert words[:3] == ["howcompact", "best", "/home/two words/it's"]
    return words[words.index("--where") + 1]


def test_the_constraint_is_a_sparsity_of_the_study() -> None:
    assert constraint(0.5) == "sparsity>=0.5"
    assert constraint(0.5, 0.9, 0.95) == "sparsity>=0.9"
    assert constraint(0.95, 0.99) == "sparsity>=0.95"
    assert constraint(0.5, 0.8) == "sparsity>=0.8"
    assert constraint(0.12345678) == "sparsity>=0.12345678"


def test_without_a_done_trial_there_is_no_command() -> None:
    assert constraint() is None
    assert constraint(0.5, status="failed") is None


def test_the_users_own_models_are_trusted() -> None:
    rows = [trial_row("erk", 0.5, 0, 0.9, 2, model=model) for model in ("small_cnn", "nets:b", "nets:a")]
    assert shlex.split(best_command("s", rows) or "")[-4:] == ["--trust", "nets:a", "--trust", "nets:b"]
