"""The setting `device`: what is refused before anything runs, and that a table is known by its content."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.running.identity import identified
from search.study.checks import complaints
from search.study.reading import read_study
from tests.search.latency_budgets import of_device
from tests.trainables.trials import DATA
from trainables.latency.table import LatencyTable
from trainables.storage.folder import Folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["granularity=weight"],
            "budget 'latency' must go with units that are removed, as masked weights save no time",
        ),
        (["device=torch-cp"], "device.name must be 'auto', 'torch-cpu', 'torch-cuda' or 'onnxruntime-cpu', but got"),
        (["device={threads: 0}"], "device.threads must be greater than or equal to 1, but got 0"),
        (["device=none.parquet"], r"device.table must be a file, but .*none.parquet is not there; correct it"),
        (["device={table: a.parquet, batch: 2}"], "device.table must come without name, threads and batch"),
        (["device={content: abc}"], "device.content must be left out, as each run finds it; drop it"),
        (
            ["budget=macs"],
            "device must come with budget=latency, with latency=true, or with latency_ms in search",
        ),
        (["budget=macs", "latency=true", "device=a.parquet"], "device.table must come with budget 'latency', as the"),
        (
            ["before=[{granularity: block, criterion: l1, policy: uniform, sparsity: 0.1}]"],
            "budget 'latency' must be that of one pruning, as its table starts from the dense network",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_runs(settings: list[str], message: str) -> None:
    given = ["granularity=channel", "criteria=[l1]", "budget=latency", "device=torch-cpu", "policies=[uniform]"]
    if settings == ["granularity=weight"]:
        settings = [*settings, "criteria=[magnitude]"]
    with pytest.raises(ValueError, match=message):
        read_study("digits", [*given, "search={}", *settings])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"models": ["vit"], "data": DATA.model_copy(update={"size": 32})},
            "must be of the network that is pruned, but it is of small_cnn",
        ),
        (
            {"data": DATA.model_copy(update={"size": 16})},
            "must be of the inputs that the network takes, float32 1x16x16",
        ),
        (
            {"sparsities": [0.99]},
            r"budget must leave at least .* ms, but sparsity 0.99 leaves .*; use a sparsity of at",
        ),
    ],
)
def test_a_table_that_does_not_fit_and_a_budget_out_of_reach_are_refused_before_anything_runs(
    settings: dict[str, object], message: str, latency_table: Path
) -> None:
    assert re.search(message, complaints(of_device(latency_table, **settings))[0])


def test_a_table_that_moved_is_the_same_table_and_a_changed_one_is_another(latency_table: Path, tmp_path: Path) -> None:
    storage = Folder.at(str(tmp_path))
    copied, other = tmp_path / "copied.parquet", tmp_path / "other.parquet"
    copied.write_bytes(latency_table.read_bytes())
    measured = LatencyTable.at(str(latency_table))
    other.write_bytes(replace(measured, ms=2 * measured.ms).to_parquet())
    studies = [identified(of_device(file), storage, lambda _: None) for file in (latency_table, copied, other)]
    keys = [[trial.key() for trial in study.trials()] for study in studies]
    assert keys[0] == keys[1] != keys[2]
    (earlier, *_), moved = studies[0].trials(), studies[1]
    assert moved.found_now(earlier).device.table == str(copied)
    assert studies[2].found_now(earlier).device.table == str(latency_table)
