"""The data sets that a study's trials were trained on: where they are now, and whether they are still the same."""

import sys
from collections.abc import Iterable

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.data import sources
from trainables.spec import DataSpec

DataName = tuple[str, str]  # a data set's name and checksum


def name_of(row: TrialRow) -> DataName:
    """Name the data set that a trial was trained on."""
    return row.dataset, row.content


def data_at_hand(folder: StudyFolder, rows: Iterable[TrialRow]) -> dict[DataName, DataSpec]:
    """Find the data sets of trials that have ended; what is gone or has changed is left out with a line on stderr.

    A data set is where the study that ran last has it, if that study has it, else where the last trial on it had it.
    Raises ValueError where no data set is left.
    """
    last = {name_of(row): row.trial for row in sorted(rows, key=lambda row: row.ended)}
    found: dict[DataName, DataSpec] = {}
    missing: list[str] = []
    for name, trial in last.items():
        outcome = folder.outcome(trial)
        assert outcome is not None, "a trial that has a row has an outcome"
        try:
            found[name] = _unchanged(outcome.spec.dense.data.found_by(folder.study.data), folder)
        except ValueError as error:
            missing.append(str(error))
    if missing and not found:
        raise ValueError("\n".join(missing))
    for text in missing:
        print(f"warning: {text}; trials on the earlier data are left out", file=sys.stderr)
    return found


def _unchanged(data: DataSpec, folder: StudyFolder) -> DataSpec:
    """Return the data set, if its files are what its checksum says; else raise ValueError."""
    if data.content:
        now = sources.identified(data, folder.folder.parent, lambda text: print(text, file=sys.stderr))
        if now.content != data.content:
            raise ValueError(f"the data at {data.path} must be what a trial was trained on, but has changed since then")
    return data
