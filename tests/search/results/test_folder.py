"""The study folder's table: whole, documented, and readable by others."""

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from search.results.folder import STUDY
from search.results.rows import SCHEMA, TABLE, TrialRow, from_parquet, from_table, row_of, to_table
from tests.search.comparison.test_compare import outcome, study_of
from trainables.outcome import Outcome
from trainables.pruning_spec import Schedule
from trainables.spec import TrialSpec
from trainables.storage.columns import to_parquet
from trainables.storage.sealed_json import sealed, unsealed
from trainables.trial.trainable import write_outcome


def by_pandas(path: str) -> Any:
    table = pd.read_parquet(path)
    return table["best_val_accuracy"].max(), [dict(layers) for layers in table["layers"]]


def by_polars(path: str) -> Any:
    table = pl.read_parquet(path)
    return table["best_val_accuracy"].max(), [dict(layers) for layers in table["layers"]]


def by_duckdb(path: str) -> Any:
    best, layers = duckdb.execute(
        f"select max(best_val_accuracy), list(layers order by trial) from '{path}'"
    ).fetchall()[0]
    return best, layers


@pytest.mark.parametrize("read", [by_pandas, by_polars, by_duckdb])
def test_the_table_is_read_by_others(read: Any, tmp_path: Path) -> None:
    outcomes = [outcome("uniform", 0.5, 0, 0.5), outcome("erk", 0.5, 0, 0.7, kept=400)]
    rows = study_of(tmp_path / "s", [*outcomes, Outcome(spec=TrialSpec(), status="failed")]).write_table()
    best, layers = read(str(tmp_path / "s" / TABLE))
    assert best == 0.7
    assert layers == [row.layers for row in rows]


def test_a_damaged_study_is_one_clear_error(tmp_path: Path) -> None:
    folder = study_of(tmp_path / "s", [])
    text = unsealed((tmp_path / "s" / STUDY).read_bytes()).replace(b'"sparsities"', b'"sparsitys"')
    (tmp_path / "s" / STUDY).write_bytes(sealed(text))
    with pytest.raises(ValueError, match=r"s/study.json must hold a study of this version, but .*sparsitys must be"):
        _ = folder.study


def test_every_column_is_documented() -> None:
    assert SCHEMA.names == list(TrialRow.model_fields)
    schema = from_parquet(to_parquet(to_table([]))).schema
    assert all(schema.field(name).metadata[b"description"] for name in SCHEMA.names)


def test_rows_survive_parquet() -> None:
    rows = [row_of(outcome("uniform", 0.5, 0, 0.5)), row_of(Outcome(spec=TrialSpec(), status="failed", error="x"))]
    rows.append(row_of(outcome("erk", 0.5, 0, 0.5, recovery="rewind", schedule=Schedule(name="iterative", steps=2))))
    assert from_table(from_parquet(to_parquet(to_table(rows)))) == rows


def test_the_former_name_of_the_accuracy_is_an_alias_that_is_not_read(tmp_path: Path) -> None:
    folder = study_of(tmp_path / "s", [outcome("uniform", 0.5, 0, 0.5), outcome("erk", 0.5, 0, 0.7, kept=400)])
    rows = folder.write_table()
    table = pq.read_table(tmp_path / "s" / TABLE)
    assert table["val_accuracy"].to_pylist() == table["best_val_accuracy"].to_pylist()
    assert b"alias of best_val_accuracy" in table.schema.field("val_accuracy").metadata[b"description"]
    pq.write_table(table.drop_columns("val_accuracy"), tmp_path / "s" / TABLE)
    assert folder.rows() == rows
    pq.write_table(table.drop_columns("best_val_accuracy"), tmp_path / "s" / TABLE)  # as an older version wrote it
    assert folder.rows() == rows  # read from the outcomes
    with pytest.raises(ValueError, match="must have a column best_val_accuracy"):
        from_parquet((tmp_path / "s" / TABLE).read_bytes())


def test_a_table_that_an_older_version_wrote_is_read() -> None:
    row = row_of(outcome("uniform", 0.5, 0, 0.5))
    stages, kinds = ("allocation", "profile"), ("evaluations", "images")
    counts = ["images", *(f"{stage}_{kind}" for stage in stages for kind in kinds)]
    of_curricula = ["curriculum", "control_setting", "standard_setting"]
    added = ["recovery", *of_curricula, "schedule", "family", "dense_epochs", "latency_ms", *counts]
    told = from_parquet(to_parquet(to_table([row]).drop_columns(added)))
    assert from_table(told) == [row.model_copy(update={"family": "", "dense_epochs": None, **dict.fromkeys(counts)})]


def test_a_failed_trial_is_read_anew_and_a_finished_one_from_the_table(tmp_path: Path) -> None:
    failed = Outcome(spec=TrialSpec(), status="failed", error="x")
    folder = study_of(tmp_path / "s", [failed, outcome("capacity", 0.5, 0, 0.5)])
    assert {row.status for row in folder.write_table()} == {"failed", "done"}
    write_outcome(folder.trial(failed.spec.key()), outcome("uniform", 0.5, 0, 0.7))
    (tmp_path / "s" / "trials" / TrialSpec(policy="capacity").key() / "outcome.json").unlink()
    assert sorted(row.status for row in folder.rows()) == ["done", "done"]
