"""Verifies a study: its files, its trials and its tables. It changes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from search.comparison.held_out import READINGS, copied_reading, readings_of
from search.results.folder import STUDY, StudyFolder
from search.results.rows import SCHEMA, TABLE, TrialRow, from_parquet, from_table, row_of
from search.results.searches import EXHAUSTED, read_exhausted
from search.searching.journal import JOURNAL, recorded_trials
from search.verification import accuracies, comparisons
from search.verification.trials import Checked, check_trial
from trainables.artifacts.record import DenseRecord
from trainables.checkpoints import artifact_store
from trainables.frozen import Frozen
from trainables.names import SEARCHES
from trainables.outcome import Outcome

Say = Callable[[str], None]


class Verified(Frozen):
    """What was verified, and each problem in one line."""

    study: str
    trials: int  # with an outcome
    unfinished: int  # started, without an outcome; no table shows them
    files: int  # that were compared with their checksums
    networks: int  # rebuilt, and their weights and multiply-accumulates counted
    measured: int  # networks whose accuracy was measured again
    problems: list[str]


def verify(folder: StudyFolder, sample: int, say: Say) -> Verified:
    """Derive every number of a study's tables again from the files of its trials, and name what disagrees.

    The files must match their checksums. The rebuilt networks must have the weights and multiply-accumulates that were
    reported, within the budget. `results.parquet`, the comparison and the search's journal must follow from the trials.
    sample: number of finished trials whose accuracy is measured again; it needs their data sets.
    Raises ValueError for a model of the user's own that is not trusted.
    """
    problems: list[str] = []
    checked = Checked()
    with _named(problems, STUDY):
        models = folder.study.models
        checked.files += 1
    if not problems:
        for model in models:
            folder.trust.check(model)  # one error instead of one problem for each trial
    rows: dict[str, TrialRow] = {}
    outcomes: list[Outcome] = []
    keys = folder.keys()
    for key in keys:
        with _named(problems, f"trial {key}"):
            outcome, of_trial = check_trial(folder, key, checked)
            problems += [f"trial {key}: {problem}" for problem in of_trial]
            if outcome is not None:
                rows[key] = row_of(outcome)
                outcomes.append(outcome)
    problems += _of_table(folder, rows, checked)
    problems += _of_journal(folder, rows, checked)
    problems += _of_dense_networks(folder, outcomes, checked)
    with _named(problems, EXHAUSTED):
        checked.files += bool(read_exhausted(folder.folder))
    problems += _of_readings(folder, rows, checked)
    if rows and not problems:
        problems += comparisons.disagreeing(folder, rows)
    measured = 0
    if sample and rows:
        with _named(problems, "accuracies"):
            measured, wrong = accuracies.disagreeing(folder, rows, sample, say)
            problems += wrong
    return Verified(
        study=folder.folder.name,
        trials=len(rows),
        unfinished=len(keys) - len(rows),
        files=checked.files,
        networks=checked.networks,
        measured=measured,
        problems=problems,
    )


@contextmanager
def _named(problems: list[str], what: str) -> Iterator[None]:
    """Turn an error of damaged files into a problem."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        problems.append(f"{what}: {error}")


def _of_readings(folder: StudyFolder, rows: Mapping[str, TrialRow], checked: Checked) -> list[str]:
    """Compare the list of readings of the test split with the copies in the folders of the trials."""
    problems: list[str] = []
    with _named(problems, READINGS):
        readings = readings_of(folder)
        checked.files += bool(readings)
        unknown = sorted(readings.keys() - rows.keys())
        problems += [f"{READINGS} has an accuracy of trial {key}, which is not there" for key in unknown]
        for key in rows:
            copy = copied_reading(folder, key)
            checked.files += copy is not None
            if copy is None and key in readings:
                problems.append(f"trial {key} lacks its copy of {READINGS}; the next compare --test writes it")
            elif copy != readings.get(key):
                of_trial = f"must have the reading of trial {key} as its folder has it"
                problems.append(f"{READINGS} {of_trial}; compare --test adds what is lost")
    return problems


def _of_table(folder: StudyFolder, rows: Mapping[str, TrialRow], checked: Checked) -> list[str]:
    """Compare each row of the table with the row that its trial gives."""
    problems: list[str] = []
    held: dict[str, TrialRow] = {}
    with _named(problems, TABLE):
        held = {row.trial: row for row in from_table(from_parquet(folder.folder.read(TABLE), SCHEMA.names))}
        checked.files += 1
    if problems:
        return problems
    for key in sorted(held.keys() | rows.keys()):
        if key not in held:
            problems.append(f"{TABLE} lacks trial {key}, which has ended; the next run writes it")
        elif key not in rows:
            problems.append(f"{TABLE} has trial {key}, which has no outcome")
        elif held[key] != rows[key]:
            differing = [name for name in TrialRow.model_fields if getattr(held[key], name) != getattr(rows[key], name)]
            problems.append(f"{TABLE} differs from the outcome of trial {key} in {', '.join(differing)}")
    return problems


def _of_journal(folder: StudyFolder, rows: Mapping[str, TrialRow], checked: Checked) -> list[str]:
    """Find searched trials that the journal of the searches lacks, and its trials that are not there."""
    problems: list[str] = []
    searched = {key for key, row in rows.items() if row.policy in SEARCHES}
    if not folder.folder.has(JOURNAL):
        return [f"{JOURNAL} is missing, but {len(searched)} trials were searched"] if searched else []
    with _named(problems, JOURNAL):
        recorded = recorded_trials(folder.folder)
        checked.files += 1
        problems += [f"{JOURNAL} lacks trial {key}, which has ended" for key in sorted(searched - recorded)]
        problems += [f"{JOURNAL} has trial {key}, which is not there" for key in sorted(recorded - {*folder.keys()})]
    return problems


def _of_dense_networks(folder: StudyFolder, outcomes: Iterable[Outcome], checked: Checked) -> list[str]:
    """Check the dense networks that trials started from, if the storage still has them."""
    problems: list[str] = []
    reported = {outcome.spec.dense.key(): outcome for outcome in outcomes if outcome.facts}
    for key, outcome in reported.items():
        saved = artifact_store.find(folder.folder.parent, "dense", key)
        if saved is None:
            continue
        with _named(problems, f"dense network {key}"):
            accuracy = checked.load(saved, folder.trust).read(DenseRecord).val_accuracy
            if outcome.facts and accuracy != outcome.facts.dense_accuracy:
                problems.append(
                    f"dense network {key} has accuracy {accuracy}, but trial {outcome.spec.key()} reports "
                    f"{outcome.facts.dense_accuracy}"
                )
    return problems
