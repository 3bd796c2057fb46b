"""Starts of searches that an earlier study has are taken over, as a whole or not at all."""

from pathlib import Path

import pytest

from search.comparison.compare import compare
from search.results.folder import OUTCOME, StudyFolder
from search.running.warm_start import adopt
from search.study.spec import StudySpec
from tests.search.comparison.test_compare import outcome, study_of
from trainables.checkpoints.manifest import write_files
from trainables.storage.folder import Folder


def study(name: str, **given: object) -> StudySpec:
    settings = {"sparsities": [0.5], "seeds": [0], "search": {"trials": 5, "warm_start": ["uniform", "capacity"]}}
    return StudySpec.model_validate(settings | {"name": name} | given)


def earlier(storage: Path, name: str, status: str = "done") -> StudyFolder:
    """Make a study that ran uniform, capacity and lamp in the cell of `study`, each with the files of an epoch."""
    specs = study(name, policies=["uniform", "capacity", "lamp"]).trials()
    ended = [outcome(spec.policy, 0.5, 0, 0.7).model_copy(update={"spec": spec, "status": status}) for spec in specs]
    folder = study_of(storage / name, ended)
    for spec in specs:
        write_files(folder.trial(spec.key()) / "epoch-00003", {"network.safetensors": spec.policy.encode()})
        folder.start_trial(spec)
    return folder


def test_what_searches_start_from_is_taken_over_with_its_network_and_its_cost(tmp_path: Path) -> None:
    other, storage = earlier(tmp_path, "old"), Folder.at(str(tmp_path))
    new = study("new")
    assert adopt(new, storage) == {"old": 2}
    folder = StudyFolder(storage / "new")
    folder.write_study(new)
    rows = {row.trial: row for row in folder.rows()}
    assert sorted(row.policy for row in rows.values()) == ["capacity", "uniform"]
    for key, row in rows.items():
        assert row == next(known for known in other.rows() if known.trial == key)
        assert (folder.trial(key) / "epoch-00003").read("network.safetensors") == row.policy.encode()
    assert adopt(new, storage) == {}
    assert {row.policy: row.search_cost_seconds for row in compare([folder]).rows} == {
        row.policy: row.search_cost_seconds for row in compare([other]).rows if row.policy != "lamp"
    }


@pytest.mark.parametrize(
    "given", [{"seeds": [1]}, {"calibration": 7}, {"policies": ["uniform", "capacity"]}, {"sparsities": [0.6]}]
)
def test_nothing_else_is_taken_over(tmp_path: Path, given: dict[str, object]) -> None:
    earlier(tmp_path, "old")
    assert adopt(study("new", **given), Folder.at(str(tmp_path))) == {}


def test_what_failed_or_was_stopped_is_left_to_run(tmp_path: Path) -> None:
    earlier(tmp_path, "old", status="stopped")
    assert adopt(study("new"), Folder.at(str(tmp_path))) == {}


def test_a_copy_that_broke_off_is_no_trial_and_is_made_again(tmp_path: Path) -> None:
    other, storage = earlier(tmp_path, "old"), Folder.at(str(tmp_path))
    folder, key = StudyFolder(storage / "new"), study("new").trials()[0].key()
    (folder.trial(key) / "epoch-00003").write("network.safetensors", b"half")
    assert not folder.rows()
    adopt(study("new"), storage)
    assert folder.trial(key).read(OUTCOME) == other.trial(key).read(OUTCOME)
    assert (folder.trial(key) / "epoch-00003").read("network.safetensors") != b"half"


def test_a_link_in_another_users_study_reveals_nothing(tmp_path: Path) -> None:
    """A user of shared storage may write links to files that only the next reader of the storage can read."""
    other = earlier(tmp_path, "old")
    other.write_table()
    (tmp_path / "key").write_text("private")
    for row in other.rows():
        for network in (tmp_path / "old" / "trials" / row.trial).rglob("*.safetensors"):
            network.unlink()
            network.symlink_to(tmp_path / "key")
    assert adopt(study("new"), Folder.at(str(tmp_path))) == {}
    for row in other.rows():
        link = tmp_path / "old" / "trials" / row.trial / OUTCOME
        link.unlink()
        link.symlink_to(tmp_path / "key")
    assert adopt(study("new"), Folder.at(str(tmp_path))) == {}
    left = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert not [path for path in left if b"private" in path.read_bytes()]
