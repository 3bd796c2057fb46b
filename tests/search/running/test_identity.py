"""Data that moves, is loaded in another way or changes: what runs again, and what the study folder still gives."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from search.results.folder import StudyFolder
from search.running.identity import identified
from search.searching.searcher import StudySearcher
from search.study.reading import read_study
from tests.search.conftest import FEW, SMALL, Run, howcompact, run_small
from tests.search.in_process import run_in_process
from trainables.storage.folder import Folder

CHANGED = "differs from what study digits was trained on"


def write_digits(root: Path) -> None:
    """Write 300 handwritten digits as bitmaps of the same size in bytes, with an old modification time."""
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        file = root / str(label) / f"{number:03}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(file)
        os.utime(file, (1_500_000_000, 1_500_000_000))


def run_on(home: Path, data: Path, *settings: str) -> Run:
    few = [setting for setting in FEW if not setting.startswith("policies=")]
    policies = [] if any(setting.startswith("policies=") for setting in settings) else ["policies=[uniform]"]
    return run_small(home, settings=[*few, *policies, "data.name=folder", f"data.path={data}", *settings])


def dense_networks(run: Run) -> int:
    return len(list((run.folder.parent / "artifacts" / "dense").glob("*.json")))


def counts(run: Run) -> tuple[Any, Any]:
    return run.summary["trials"]["new"], run.summary["trials"]["total"]


def test_data_that_moves_runs_nothing_again_and_data_that_changes_runs_anew(tmp_path: Path) -> None:
    first, second = tmp_path / "laptop" / "images", tmp_path / "cluster" / "mount" / "images"
    write_digits(first)
    settings = [*SMALL, *FEW, "data.name=folder", f"data.path={first}"]
    storage = tmp_path / "howcompact-runs"
    run_in_process(storage, identified(read_study("digits", settings), Folder.at(str(storage)), lambda _: None))

    shutil.copytree(first, second)
    shutil.rmtree(first.parent)
    moved = run_on(tmp_path, second, "data.loading=stream")
    assert counts(moved) == (0, 1)
    assert "300 files" in moved.stderr
    assert CHANGED not in moved.stderr
    extended = run_on(tmp_path, second, "data.loading=memory", "policies=[uniform,erk]")
    assert counts(extended) == (1, 2)
    assert dense_networks(extended) == 1

    compared = extended.json_of("compare", str(extended.folder), "--test")
    assert [row["policy"] for row in compared["rows"]] == ["erk", "uniform"]
    assert not any(row["warnings"] for row in compared["rows"])
    assert all(row["test_accuracy"] for row in compared["rows"])
    taken = extended.json_of("best", str(extended.folder), "--policy", "uniform", "--out", "net")
    assert taken["verified_accuracy"] == pytest.approx(taken["reported_accuracy"], abs=1e-9)
    profile = extended.json_of("profile", "net", "--calibration", "20")
    assert profile["calibration"] == 20  # the copy knows where the data is now

    file = second / "3" / "003.bmp"
    size, content = file.stat().st_size, file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert file.stat().st_size == size
    anew = run_on(tmp_path, second, "policies=[uniform,erk]")
    assert counts(anew) == (2, 4)
    assert anew.stderr.count(CHANGED) == 1
    assert dense_networks(anew) == 2
    assert "; 1 were read" in anew.stderr

    compared = anew.json_of("compare", str(anew.folder))
    assert sum("data.content=" in warning for row in compared["rows"] for warning in row["warnings"]) == 4
    assert not any("data.path" in warning for row in compared["rows"] for warning in row["warnings"])
    best = howcompact("best", str(anew.folder), "--out", "newer", cwd=tmp_path)
    assert best.returncode == 0, best.stderr
    assert best.stderr.count("must be the data that a trial was trained on, but has changed") == 1
    tested = howcompact("compare", str(anew.folder), "--test", "--json", cwd=tmp_path)
    assert tested.returncode == 0, tested.stderr
    assert anew.json_of("status", str(anew.folder))["trials"]["done"] == 4


def test_all_keys_of_a_study_are_the_same_wherever_its_data_is(tmp_path: Path) -> None:
    write_digits(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    keys = set()
    for name, loading in (("one", "auto"), ("other", "memory"), ("link", "stream")):
        settings = ["data.name=folder", f"data.path={tmp_path / name}", f"data.loading={loading}"]
        study = identified(read_study("digits", settings), Folder.at(str(tmp_path / "storage")), lambda _: None)
        assert study.data.content
        specs = [*study.trials(), *study.cells()]
        named = [(s.key(), s.dense.key(), s.profile.key(), s.probing.key(), s.gating.key()) for s in specs]
        keys.add((study.key(), *named))
    assert len(keys) == 1


def test_a_trial_that_was_left_unfinished_goes_on_where_the_data_is_now(tmp_path: Path) -> None:
    write_digits(tmp_path / "old")
    storage = Folder.at(str(tmp_path / "storage"))
    settings = ["data.name=folder", "seeds=[0]", "sparsities=[0.5]", "search.warm_start=[uniform]"]
    study = identified(read_study("digits", [*settings, f"data.path={tmp_path / 'old'}"]), storage, lambda _: None)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = identified(read_study("digits", [*settings, f"data.path={tmp_path / 'new'}"]), storage, lambda _: None)
    folder = StudyFolder(storage / study.name)
    ((policy, (cell, *_)), *_) = study.searches()
    begun = cell.model_copy(update={"policy": policy, "densities": {"stem": 0.5}})
    folder.start_trial(begun)
    searcher = StudySearcher(moved, folder, configure=lambda spec: {})
    paths = {spec.dense.data.path for spec in searcher.specs}
    assert paths == {str(tmp_path / "new")}
    assert begun.key() in {spec.key() for spec in searcher.specs}


def test_a_checksum_is_not_set_by_hand() -> None:
    with pytest.raises(ValueError, match=r"data\.content must be left out, as each run finds it, but got 'abc'; drop"):
        read_study("digits", ["data.content=abc"])
