"""`clean` deletes nothing while it cannot know what is needed: beside damaged studies, runs and wrong folders."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from search.results.storage_needs import Needs
from search.results.unneeded import Found, unneeded
from search.running.clean import clean
from search.running.lease import Lease
from tests.search.running.test_clean import cleaned, files_in
from tests.search.running.test_lease import left_behind
from tests.trainables.trials import flip_a_byte
from trainables.storage.folder import Folder


def damage_study(home: Path) -> str:
    (home / "both" / "study.json").write_text("{")
    return "study both cannot be read: .*study.json must hold a study of this version, .*; run the study's"


def lose_study(home: Path) -> str:
    (home / "both" / "study.json").unlink()
    return "study both cannot be read: it has trials and no study.json; run the study's command again, or delete its"


def damage_trial(home: Path) -> str:
    trial = next((home / "both" / "trials").iterdir())
    for file in ("spec.json", "outcome.json"):
        flip_a_byte(trial / file)
    return f"study both cannot be read: spec.json and outcome.json of trial {trial.name} are damaged or missing; delete"


@pytest.mark.parametrize("damage", [damage_study, lose_study, damage_trial])
@pytest.mark.parametrize("delete", [False, True])
def test_a_study_that_cannot_be_read_is_named_and_nothing_is_deleted(
    home: Path, damage: Callable[[Path], str], delete: bool
) -> None:
    message = damage(home)
    shutil.rmtree(home / "first")
    before = files_in(home)
    with pytest.raises(ValueError, match=message):
        cleaned(home, delete)
    assert files_in(home) == before


def test_while_a_run_is_active_nothing_is_deleted(home: Path) -> None:
    shutil.rmtree(home / "first")
    shutil.rmtree(home / "both")
    with Lease(Folder.at(str(home / "new")), pytest.fail):  # a run that has not written its study yet
        for delete in (False, True):
            with pytest.raises(ValueError, match=r"clean must wait until no run uses the storage, but process \d+ on"):
                cleaned(home, delete)
    assert len(list(home.glob("artifacts/*/*.json"))) == 4
    assert len(cleaned(home).unneeded) == 4


def test_a_study_that_starts_meanwhile_keeps_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(home / "both")
    with ExitStack() as stack:

        def begin(storage: Folder, needs: Needs) -> list[Found]:
            stack.enter_context(Lease(storage / "new", pytest.fail))
            return unneeded(storage, needs)

        monkeypatch.setattr("search.running.clean.unneeded", begin)
        with pytest.raises(ValueError, match=r"clean must wait until no run uses the storage, but .*/new"):
            cleaned(home)
    assert len(list(home.glob("artifacts/*/*.json"))) == 4


def test_a_run_that_was_lost_elsewhere_is_waited_for_and_then_counts_as_gone(home: Path) -> None:
    left_behind(Folder.at(str(home / "both")), "another boot")
    warnings: list[str] = []
    assert clean(Folder.at(str(home)), False, warnings.append).unneeded == []
    assert len(warnings) == 1


def test_another_folder_is_refused(home: Path) -> None:
    for folder, message in ((home / "both", "is a study; give .*runs$"), (home.parent, "artifacts/, but .* has none")):
        with pytest.raises(ValueError, match=message):
            cleaned(folder)
