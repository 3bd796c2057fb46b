"""A comparison in Python: its columns against its rows, its JSON against itself."""

from pathlib import Path

import polars as pl
import pytest

import search
from search.report.notebook import Compared
from tests.search.comparison.test_compare import outcome, study_of


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    accuracies = {"uniform": 0.5, "erk": 0.6}
    outcomes = [outcome(policy, 0.5, seed, a + seed / 50) for policy, a in accuracies.items() for seed in range(3)]
    study_of(tmp_path / "a<b", [*outcomes, outcome("random", 0.9, 0, 0.4)], name="s")
    return search.compare([str(tmp_path / "a<b")])


def test_json_is_read_back_whole(compared: Compared) -> None:
    assert Compared.model_validate_json(compared.model_dump_json()) == compared


def test_the_table_has_every_row(compared: Compared) -> None:
    frame = compared.table.to_pandas()
    assert list(frame["policy"]) == ["uniform", "erk", "random"]
    erk = next(row for row in compared.rows if row.policy == "erk")
    shown = frame[frame["policy"] == "erk"].iloc[0]
    assert shown["best_val_accuracy"] == erk.best_val_accuracy.mean
    assert (shown["best_val_accuracy_low"], shown["best_val_accuracy_high"]) == (
        erk.best_val_accuracy.low,
        erk.best_val_accuracy.high,
    )
    assert shown["gap_to_uniform"] == pytest.approx(0.1)
    assert list(shown["seeds"]) == [0, 1, 2]
    assert dict(shown["layers"]) == erk.layers
    assert frame["test_accuracy"].isna().all()
    polars = pl.from_arrow(compared.table)
    assert isinstance(polars, pl.DataFrame)
    assert polars["best_val_accuracy"].to_list() == list(frame["best_val_accuracy"])


def test_a_notebook_shows_every_row_and_escapes_names(compared: Compared) -> None:
    shown = compared._repr_html_()
    assert shown.count("<tr>") == 1 + len(compared.rows)
    assert "a&lt;b" in shown
    assert "random (control)" in shown
    assert "500 (50.0%)" in shown


def test_it_is_drawn(compared: Compared) -> None:
    assert compared.plot().axes
