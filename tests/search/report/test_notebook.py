"""A comparison in Python: its columns against its rows, its JSON against itself."""

import json
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import search
from search.report.notebook import Compared
from search.report.out_files import CSV, FIGURES, FILES, PAIRS_CSV, PAIRS_PARQUET, PARQUET
from search.report.sections.evidence import gather
from search.report.write import SECTIONS, write_report
from search.results.folder import StudyFolder
from search.results.rows import TABLE
from tests.search.comparison.test_compare import outcome, study_of
from tests.search.conftest import howcompact


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


def test_it_prints_in_one_line(compared: Compared) -> None:
    line = "<comparison of a<b: 3 rows of uniform, erk, random; see .rows, .table, .headline, .plot()>"
    assert (str(compared), repr(compared)) == (line, line)


def test_the_report_has_the_same_columns_as_csv_and_parquet(compared: Compared, tmp_path: Path) -> None:
    written = write_report(compared, tmp_path / "page", [StudyFolder.open(str(tmp_path / "a<b"))])
    assert {path.name for path in written} <= FILES
    frame = pd.read_csv(tmp_path / "page" / CSV)
    assert list(frame.columns) == compared.table.column_names
    assert frame["best_val_accuracy"].tolist() == compared.table["best_val_accuracy"].to_pylist()
    assert [json.loads(text) for text in frame["seeds"]] == [row.seeds for row in compared.rows]
    assert [json.loads(text) for text in frame["layers"]] == [row.layers for row in compared.rows]
    assert pq.read_table(tmp_path / "page" / PARQUET).equals(compared.table)


def test_with_a_margin_the_pairs_are_in_files_on_the_page_and_in_the_notebook(
    compared: Compared, tmp_path: Path
) -> None:
    folder = str(tmp_path / "a<b")
    tested = search.compare([folder], margin=0.3)
    (pair,) = tested.pairs
    written = write_report(tested, tmp_path / "page", [StudyFolder.open(folder)])
    assert {path.name for path in written} <= FILES
    assert pq.read_table(tmp_path / "page" / PAIRS_PARQUET).equals(tested.pairs_table)
    (shown,) = pd.read_csv(tmp_path / "page" / PAIRS_CSV).to_dict("records")
    assert [shown[name] for name in ("policy", "rival", "verdict")] == ["erk", "uniform", "undecided"]
    assert (shown["gap"], shown["gap_low"]) == (pair.gap.mean, pair.gap.low)
    assert json.loads(shown["seeds"]) == pair.seeds == [0, 1, 2]
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Pairs of policies in each cell, with a margin of 0.3 points" in page
    assert "--margin 0.3 --out report" in page
    assert '<td class="w">undecided</td>' in page
    assert "-10.00 ±0.00, undecided" in tested._repr_html_()
    assert len(compared.pairs_table) == 0
    write_report(compared, tmp_path / "page", [StudyFolder.open(folder)])
    assert not {PAIRS_CSV, PAIRS_PARQUET} & {path.name for path in (tmp_path / "page").iterdir()}
    assert "Pairs of policies in each cell" not in (tmp_path / "page" / "index.html").read_text()


def test_a_report_replaces_a_report_and_nothing_else(compared: Compared, tmp_path: Path) -> None:
    folders, page, notes = [StudyFolder.open(str(tmp_path / "a<b"))], tmp_path / "page", tmp_path / "page" / "notes.txt"
    write_report(compared, page, folders)
    write_report(compared, page, folders)
    notes.write_text("mine")
    with pytest.raises(ValueError, match="must be a new folder or one that compare has filled"):
        write_report(compared, page, folders)
    done = howcompact("compare", str(tmp_path / "a<b"), "--out", str(page), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert notes.read_text() == "mine"
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "gap.png").write_bytes(b"of somebody else")
    with pytest.raises(ValueError, match="must be a new folder"):
        write_report(compared, tmp_path / "charts", folders)


def test_every_section_has_its_files_named(compared: Compared, tmp_path: Path) -> None:
    evidence = gather(compared, [StudyFolder.open(str(tmp_path / "a<b"))])
    assert sorted(section(evidence).name for section in SECTIONS) == sorted(FIGURES)


def test_maps_are_dictionaries_in_pandas(compared: Compared, tmp_path: Path) -> None:
    folder = StudyFolder.open(str(tmp_path / "a<b"))
    rows = folder.write_table()
    assert 'to_pandas(maps_as_pydicts="strict")' in (Path(search.__file__).parent / "README.md").read_text()
    frame = pq.read_table(tmp_path / "a<b" / TABLE).to_pandas(maps_as_pydicts="strict")
    assert frame["layers"].tolist() == [row.layers for row in rows]
    assert frame["parts"].tolist() == [row.parts for row in rows]
