"""Accuracy on the test split: only of trials that validation has chosen, read once a trial and kept for good."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field, RootModel

from search.comparison.compare import Comparison, ComparisonRow, Estimate, HeldOut
from search.comparison.estimates import of_each
from search.results.folder import StudyFolder
from search.results.measured_again import measured_again
from trainables.counts import quantity
from trainables.frozen import Frozen
from trainables.storage.sealed_json import sealed, unsealed
from trainables.storage.strict_json import damage_as_error

READINGS = "test.json"


class Reading(Frozen):
    """A trial's accuracy on the test split, and who read it when."""

    accuracy: float
    other_metrics: dict[str, float] = Field({})  # of the task: name -> value
    read: str  # time in UTC, ISO 8601
    by: str = ""  # the comparison: its studies


Readings = RootModel[dict[str, Reading]]  # by trial


def with_test(comparison: Comparison, folders: Sequence[StudyFolder]) -> Comparison:
    """Add each row's accuracy on the test split; read the split only for trials without a reading.

    A row has none where the data of one of its trials is gone or has changed; ValueError where that is so of all
    trials of a folder.
    """
    wanted = {key for row in comparison.rows for key in row.trial_keys}
    known = {key: reading for folder in folders for key, reading in _mended(folder, wanted).items() if key in wanted}
    if known:
        first = min(reading.read for reading in known.values())
        print(f"the test split was read before for {quantity(len(known), 'trial')}, first on {first}", file=sys.stderr)
    fresh: dict[str, Reading] = {}
    for folder in folders:
        fresh |= _read(folder, (wanted - set(known) - set(fresh)) & set(folder.keys()), comparison.study)
    readings = known | fresh
    times = sorted(reading.read for reading in readings.values())
    held_out = HeldOut(
        trials=len(readings),
        read_now=len(fresh),
        first=times[0],
        last=times[-1],
        by=sorted({reading.by for reading in readings.values() if reading.by}),
    )
    rows = [_with(row, readings) for row in comparison.rows]
    return comparison.model_copy(update={"rows": rows, "held_out": held_out})


def readings_of(folder: StudyFolder) -> dict[str, Reading]:
    """Load a study folder's readings of the test split, by trial."""
    if not folder.folder.has(READINGS):
        return {}
    with damage_as_error(f"{READINGS} of {folder.folder.uri}"):
        return Readings.model_validate_json(unsealed(folder.folder.read(READINGS))).root


def copied_reading(folder: StudyFolder, key: str) -> Reading | None:
    """Load the copy of a reading that lies in the folder of its trial."""
    if not folder.trial(key).has(READINGS):
        return None
    with damage_as_error(f"{READINGS} of trial {key}"):
        return Reading.model_validate_json(unsealed(folder.trial(key).read(READINGS)))


def _with(row: ComparisonRow, readings: dict[str, Reading]) -> ComparisonRow:
    if not readings.keys() >= set(row.trial_keys):
        return row
    own = [readings[key] for key in row.trial_keys]
    estimates = {
        "test_accuracy": Estimate.of([reading.accuracy for reading in own]),
        "test_other_metrics": of_each([reading.other_metrics for reading in own]),
    }
    return row.model_copy(update=estimates)


def _read(folder: StudyFolder, keys: set[str], by: str) -> dict[str, Reading]:
    """Read the test split for these trials; save each reading before the next trial is measured."""
    rows = {row.trial: row for row in folder.rows() if row.trial in keys}
    found: dict[str, Reading] = {}
    for outcome, evaluation, *_ in measured_again(folder, rows, "test"):
        key, now = outcome.spec.key(), datetime.now(UTC).isoformat(timespec="seconds")
        found[key] = Reading(accuracy=evaluation.metric, other_metrics=evaluation.other_metrics, read=now, by=by)
        _write_list(folder, readings_of(folder) | {key: found[key]})
        _write_copy(folder, key, found[key])
    return found


def _mended(folder: StudyFolder, wanted: set[str]) -> dict[str, Reading]:
    """Load the readings, and write again what the list or the folder of a trial has lost."""
    listed = readings_of(folder)
    unlisted = (wanted & set(folder.keys())) - listed.keys()
    copied = {key: reading for key in sorted(unlisted) if (reading := copied_reading(folder, key))}
    if copied:
        _write_list(folder, listed | copied)
    for key, reading in listed.items():
        if not folder.trial(key).has(READINGS):
            _write_copy(folder, key, reading)
    return listed | copied


def _write_list(folder: StudyFolder, readings: dict[str, Reading]) -> None:
    folder.folder.write(READINGS, sealed(Readings(readings).model_dump_json(indent=1).encode()))


def _write_copy(folder: StudyFolder, key: str, reading: Reading) -> None:
    """Write a reading into its trial's folder, too: a lost list is then noticed, and the split is not read again."""
    folder.trial(key).write(READINGS, sealed(reading.model_dump_json(indent=1).encode()))
