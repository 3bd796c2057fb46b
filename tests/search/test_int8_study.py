"""A study that quantises, on Ray: it survives a kill, and its results have the numbers of its int8 files."""

import json
from pathlib import Path

from search.results.folder import StudyFolder
from search.study.reading import read_study
from tests.search.conftest import howcompact
from tests.search.drivers import finish, kill_when, start
from tests.search.in_process import run_in_process

SETTINGS = (
    *("dense.epochs=2", "finetune.epochs=2", "sparsities=[0.5]", "seeds=[0]", "policies=[uniform,erk,lamp]"),
    *("quantise=int8", "calibration=64", "tracking=off"),
)
STUDY = ("digits", "--set", *SETTINGS)
MEASURED = {"quantised_seconds"}


def numbers(folder: StudyFolder) -> dict[str, dict[str, object]]:
    """What the outcomes have of int8 files, without times, by trial."""
    outcomes = folder.read_outcomes(folder.keys())
    found = {outcome.spec.key(): outcome.quantised for outcome in outcomes}
    return {key: quantised.model_dump(exclude=MEASURED) for key, quantised in found.items() if quantised}


def test_a_killed_study_ends_with_the_numbers_of_an_undisturbed_one(tmp_path: Path) -> None:
    trials = tmp_path / "howcompact-runs" / "digits" / "trials"
    with start(tmp_path, *STUDY) as driver:
        kill_when(lambda: any(trials.glob("*/epoch-*/manifest.json")), driver)
    with start(tmp_path, *STUDY) as again:
        summary = finish(again)
    assert (summary["trials"]["done"], summary["trials"]["failed"]) == (3, 0)
    assert summary["best"]["quantised_accuracy"] is not None
    folder = StudyFolder.open(str(trials.parent))
    whole = run_in_process(tmp_path / "undisturbed", read_study("digits", SETTINGS, None))
    assert numbers(folder) == numbers(whole)
    assert len(numbers(folder)) == 3
    rows = json.loads(howcompact("compare", str(trials.parent), "--json", cwd=tmp_path).stdout)["rows"]
    told = {row["trial_keys"][0]: (row["quantised_accuracy"]["mean"], row["quantised_bytes"]) for row in rows}
    assert told == {key: (each["quantised_accuracy"], each["quantised_bytes"]) for key, each in numbers(whole).items()}
