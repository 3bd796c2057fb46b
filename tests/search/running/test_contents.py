"""Weights, models of the user's own and tables of scores: changed content has other keys, and one line says so."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from search.cluster.packing import check_for_cluster
from search.results.dense_networks import networks_of
from search.results.folder import StudyFolder
from search.results.names import curriculum_name
from search.running.dry_run import dry_run
from search.running.identity import identified, warn_of_changes
from search.study.reading import read_study
from search.study.spec import StudySpec
from tests.search.in_process import run_in_process
from tests.search.running.test_identity import write_digits
from trainables.data import sources
from trainables.models import hub
from trainables.storage.folder import Folder

Value = TypeVar("Value")
NET = """from torch import nn

def net(num_classes, in_channels):
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), *head)
"""


def keys(study: StudySpec) -> set[str]:
    cells = study.cells()
    return {study.key(), *(s.key() for s in cells), *(s.dense.key() for s in cells), *(s.profile.key() for s in cells)}


def known(home: Path, *settings: str) -> StudySpec:
    return identified(read_study("digits", settings), Folder.at(str(home / "runs")), lambda _: None)


def warnings(home: Path, study: StudySpec) -> list[str]:
    """Run nothing: warn as the start of a run does, and write the study as a run does."""
    folder, lines = StudyFolder(Folder.at(str(home / "runs")) / study.name), list[str]()
    warn_of_changes(study, folder, lines.append)
    folder.write_study(study)
    return lines


def three_files(
    home: Path, name: str, write: Callable[[Path, Value], None], value: Value, another: Value
) -> tuple[Path, Path, Path]:
    """Write a file of one value, a copy of it and a file of another value, each in a folder of its own."""
    first, copy, other = (home / folder / name for folder in ("a", "b", "c"))
    write(first, value)
    copy.parent.mkdir()
    copy.write_bytes(first.read_bytes())
    write(other, another)
    return first, copy, other


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    torch.save(hub.build("small_cnn", 10, 1).state_dict(), path)


def test_weights_are_known_by_their_bytes_and_not_by_their_path(tmp_path: Path) -> None:
    first, copy, other = three_files(tmp_path, "w.pt", save, 0, 1)
    of_first, of_copy, of_other = (known(tmp_path, f"weights={{small_cnn: {path}}}") for path in (first, copy, other))
    assert keys(of_first) == keys(of_copy)
    assert not keys(of_first) & keys(of_other)
    assert not keys(of_first) & keys(known(tmp_path))
    assert warnings(tmp_path, of_first) == []
    assert warnings(tmp_path, of_copy) == []
    first.write_bytes(other.read_bytes())
    (line,) = warnings(tmp_path, known(tmp_path, f"weights={{small_cnn: {first}}}"))
    assert line == (
        "the weights file of small_cnn differs from what study digits was trained with: its networks are trained anew"
    )


def test_a_layer_added_to_a_model_of_the_users_own_trains_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = tmp_path / "addedlayer.py"
    module.write_text(NET)
    settings = "models=[addedlayer:net]", "sparsities=[0.5]"
    before = known(tmp_path, *settings)
    assert warnings(tmp_path, before) == []
    module.write_text(f"# {NET[:4]}\n{NET}")
    assert keys(known(tmp_path, *settings)) == keys(before)
    module.write_text(NET.replace("nn.Flatten()", "nn.ReLU(), nn.Flatten()"))
    after = known(tmp_path, *settings)
    assert not keys(before) & keys(after)
    (line,) = warnings(tmp_path, after)
    assert line.startswith("the code of addedlayer:net differs from what study digits was trained with")
    assert warnings(tmp_path, after) == []


def test_a_model_of_the_users_own_that_scores_the_samples_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module, found = tmp_path / "scoringnet.py", list[set[str]]()
    lines: list[list[str]] = []
    for text in (NET, NET.replace("nn.Flatten()", "nn.ReLU(), nn.Flatten()")):
        module.write_text(text)
        study = known(tmp_path, "sparsities=[0.5]", "curricula=[{name: sample-easy, network: 'scoringnet:net'}]")
        scorers = [network for cell in study.cells() for network in cell.networks if network.model != "small_cnn"]
        assert scorers
        found.append({scorer.key() for scorer in scorers})
        lines.append(warnings(tmp_path, study))
    assert not found[0] & found[1]
    assert lines[0] == []
    assert lines[1] == [
        "the code of scoringnet:net differs from what study digits was trained with: its trials run anew"
    ]


def write_scores(path: Path, first: float, ids: Sequence[int] = range(1797)) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": list(ids), "aum": [first, *np.arange(1.0, len(ids))]}), path)


def by_table(home: Path, path: Path, *settings: str) -> StudySpec:
    curriculum = f"curricula=[{{name: sample-easy, measure: aum, table: {path}}}]"
    return known(home, "sparsities=[0.5]", curriculum, *settings)


def test_a_table_of_scores_is_known_by_its_bytes_and_not_by_its_path(tmp_path: Path) -> None:
    table, copy, other = three_files(tmp_path, "samples.parquet", write_scores, 0.0, 0.5)
    of_table, of_copy, of_other = (by_table(tmp_path, path) for path in (table, copy, other))
    assert keys(of_table) == keys(of_copy)
    assert of_table.key() != of_other.key()
    scored = [{cell.key() for cell in study.cells() if cell.scored} for study in (of_table, of_other)]
    assert len(scored[0]) == len(scored[1]) == 2 * 3  # the curriculum and its shuffled control, for three seeds
    assert not scored[0] & scored[1]
    labels = [{curriculum_name(c) for c in study.all_curricula()} for study in (of_table, of_copy, of_other)]
    assert labels[0] == labels[1]
    assert {re.sub("[0-9a-f]{8}", "...", label) for label in labels[0]} == {
        "standard",
        "sample-easy, measure aum, table ...",
        "sample-easy, measure aum, table ..., shuffled",
    }
    assert labels[0] & labels[2] == {"standard"}
    assert warnings(tmp_path, of_table) == []
    assert warnings(tmp_path, of_copy) == []
    table.write_bytes(other.read_bytes())
    assert warnings(tmp_path, by_table(tmp_path, copy)) == []
    assert warnings(tmp_path, of_table) == []
    (line,) = warnings(tmp_path, by_table(tmp_path, table))
    assert line == f"the table {table} differs from what study digits was trained with: its trials run anew"
    table.unlink()
    with pytest.raises(ValueError, match=r"curriculum\.table must be a file, but .* is not there; correct it"):
        identified(of_table, Folder.at(str(tmp_path / "runs")), lambda _: None)


def test_a_table_of_dense_training_is_known_by_its_bytes_too(tmp_path: Path) -> None:
    found = []
    for path in three_files(tmp_path, "samples.parquet", write_scores, 0.0, 0.5):
        curriculum = f"curricula=[{{name: sample-easy, phase: dense, measure: aum, table: {path}}}]"
        study = known(tmp_path, "sparsities=[0.5]", "seeds=[0]", curriculum)
        found.append([network.key() for network in networks_of(study)])
    assert found[0] == found[1]
    assert found[0][0] == found[2][0]  # without a curriculum
    assert not {*found[0][1:]} & {*found[2][1:]}


def test_a_changed_table_trains_anew_and_a_moved_one_does_not(tmp_path: Path) -> None:
    """A real run: the trials of a curriculum, in this process."""
    table, moved = tmp_path / "a" / "samples.parquet", tmp_path / "b" / "samples.parquet"
    settings = ["width=0.25", "dense.epochs=1", "finetune.epochs=1", "data.max_train=200", "calibration=32"]
    settings += ["policies=[uniform]", "seeds=[0]"]
    ids = sources.load(read_study("digits", settings).data).train.ids.tolist()
    write_scores(table, 0.0, ids)
    folder = run_in_process(tmp_path / "runs", by_table(tmp_path, table, *settings))
    folder.write_table()
    moved.parent.mkdir()
    table.rename(moved)
    plan = dry_run(by_table(tmp_path, moved, *settings), folder.folder.parent, lambda _: None)
    assert (plan.trials, plan.trials_done) == (0, 3)
    write_scores(moved, 0.5, ids)
    plan = dry_run(by_table(tmp_path, moved, *settings), folder.folder.parent, lambda _: None)
    assert (plan.trials, plan.dense) == (2, 0)


def test_an_unfinished_trial_goes_on_with_the_table_where_it_is_now(tmp_path: Path) -> None:
    table, other = tmp_path / "a" / "samples.parquet", tmp_path / "b" / "samples.parquet"
    write_scores(table, 0.0)
    (begun, *_) = (cell for cell in by_table(tmp_path, table).cells() if cell.scored)
    other.parent.mkdir()
    table.rename(other)
    now = by_table(tmp_path, other).found_now(begun)
    assert (now.curriculum.table, now.key()) == (str(other), begun.key())


def test_checksums_are_not_set_by_hand() -> None:
    with pytest.raises(ValueError, match="contents must be left out"):
        read_study("digits", ["contents={small_cnn: abc}"])


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "w.pt", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for file in ("w.pt", "./w.pt", "~/w.pt"):
        study = read_study("digits", [f"weights={{small_cnn: {file}}}"])
        assert study.weights == {"small_cnn": str(tmp_path / "w.pt")}
    write_scores(tmp_path / "s.parquet", 0.0)
    for file in ("s.parquet", "./s.parquet", "~/s.parquet"):
        (curriculum,) = read_study("digits", [f"curricula=[{{name: sample-easy, table: {file}}}]"]).curricula
        assert curriculum.table == str(tmp_path / "s.parquet")
    write_digits(tmp_path / "images")
    for folder in ("images", "./images", "~/images"):
        study = read_study("digits", ["data.name=folder", f"data.path={folder}"])
        assert study.data.path == str(tmp_path / "images")
        assert check_for_cluster("digits", "s3://bucket/studies", ["data.name=folder", f"data.path={folder}"]) == study
    assert read_study("digits").data.path == ""
    (tmp_path / "IMAGENET1K_V1").touch()
    named = read_study("digits", ["models=[resnet18]", "weights={resnet18: IMAGENET1K_V1}", "data.size=32"])
    assert named.weights == {"resnet18": "IMAGENET1K_V1"}


def test_an_unfinished_trial_goes_on_with_the_weights_where_they_are_now(tmp_path: Path) -> None:
    first, other = tmp_path / "a" / "w.pt", tmp_path / "b" / "w.pt"
    save(first, 0)
    (begun, *_) = known(tmp_path, f"weights={{small_cnn: {first}}}").cells()
    other.parent.mkdir()
    first.rename(other)
    now = known(tmp_path, f"weights={{small_cnn: {other}}}").found_now(begun)
    assert (now.dense.weights, now.key()) == (str(other), begun.key())
