"""Finds the data sets that a study's trials were trained on, and checks that they have not changed."""

import sys
from collections.abc import Iterable

from search.results.folder import StudyFolder
from search.results.rows import TrialRow
from trainables.data import sources
from trainables.data_spec import DataSpec

DataName = tuple[str, str]  # a data set's name and checksum


def name_of(row: TrialRow) -> DataName:
    """Name the data set that a trial was trained on."""
    return row.dataset, row.content


def data_at_hand(folder: StudyFolder, rows: Iterable[TrialRow]) -> dict[DataName, DataSpec]:
    """Find the data sets of ended trials. A missing or changed data set is left out, with a warning on stderr.

    The path of a data set is that of the newest study if it uses this data set, else that of the last trial on it.
    Raises ValueError if no data set is left.
    """
    last = {name_of(row): row.trial for row in sorted(rows, key=lambda row: row.ended)}
    present: dict[DataName, DataSpec] = {}
    missing: list[str] = []
    for name, trial in last.items():
        outcome = folder.outcome(trial)
        if outcome is None:
            raise ValueError(
                f"trial {trial} of {folder.folder.uri} must have an outcome, as the table lists it, but it is missing "
                "or damaged; run the study again"
            )
        try:
            present[name] = _unchanged(outcome.spec.dense.data.found_by(folder.study.data), folder)
        except ValueError as error:
            missing.append(str(error))
    if missing and not present:
        raise ValueError("\n".join(missing))
    for text in missing:
        print(f"warning: {text}; trials on the earlier data are left out", file=sys.stderr)
    return present


def _unchanged(data: DataSpec, folder: StudyFolder) -> DataSpec:
    """Return the data set. Raises ValueError if its files do not match its checksum."""
    folder.trust.check_task(data.task.function)
    if data.content:
        now = sources.identified(data, folder.folder.parent, lambda text: print(text, file=sys.stderr))
        if now.content != data.content:
            where = f"of task {data.task.function}" if data.task.function else f"at {data.path}"
            raise ValueError(f"the data {where} must be the data that a trial was trained on, but has changed")
    return data
