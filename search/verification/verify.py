"""Verifies a study: its own files, each trial, and what its tables make of them. It changes nothing."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from search.comparison.held_out import readings_of
from search.results.folder import STUDY, StudyFolder
from search.results.rows import SCHEMA, TABLE, TrialRow, from_parquet, from_table, row_of
from search.results.searches import EXHAUSTED, read_exhausted
from search.searching.journal import JOURNAL, recorded_trials
from search.verification import comparisons
from search.verification.accuracies import disagreeing
from search.verification.trials import Files, check_trial
from trainables.checkpoints import artifact_store
from trainables.frozen import Frozen
from trainables.names import SEARCHES
from trainables.outcome import Outcome

Say = Callable[[str], None]


class Verified(Frozen):
    """What was verified, and each problem in one line."""

    study: str
    trials: int  # with an outcome
    unfinished: int  # started without an outcome: nothing of them is in a table
    files: int  # that were compared with their checksums
    networks: int  # rebuilt, and their weights and multiply-accumulates counted
    judged: int  # networks whose accuracy was measured again
    problems: list[str]


def verify(folder: StudyFolder, sample: int, say: Say) -> Verified:
    """Derive every number of a study's tables again from the files of its trials, and name what disagrees.

    The files must match their checksums. The rebuilt networks must have the weights and multiply-accumulates that were
    reported, within the budget. `results.parquet`, the comparison and the search's journal must follow from the trials.
    sample: number of finished trials whose accuracy is measured again; it needs their data sets.
    """
    problems: list[str] = []
    files = Files()
    with named(problems, STUDY):
        _ = folder.study
        files.checked += 1
    outcomes: dict[str, Outcome] = {}
    keys = folder.keys()
    for key in keys:
        with named(problems, f"trial {key}"):
            outcome = check_trial(folder, key, files, problems)
            if outcome is not None:
                outcomes[key] = outcome
    rows = {key: row_of(outcome) for key, outcome in outcomes.items()}
    problems += _table_problems(folder, rows, files)
    problems += _journal_problems(folder, rows.values(), files)
    problems += _dense_problems(folder, outcomes.values(), files)
    with named(problems, EXHAUSTED):
        files.checked += bool(read_exhausted(folder.folder))
    with named(problems, "accuracies on the test split"):
        unknown = sorted(readings_of(folder).keys() - rows.keys())
        problems += [f"test.json has an accuracy of trial {key}, which is not there" for key in unknown]
    if rows and not problems:
        problems += comparisons.disagreeing(folder, rows)
    judged = 0
    if sample:
        with named(problems, "accuracies"):
            judged, wrong = disagreeing(folder, outcomes, sample, say)
            problems += wrong
    return Verified(
        study=folder.folder.name,
        trials=len(rows),
        unfinished=len(keys) - len(rows),
        files=files.checked,
        networks=files.rebuilt,
        judged=judged,
        problems=problems,
    )


@contextmanager
def named(problems: list[str], what: str) -> Iterator[None]:
    """Turn an error of damaged files into a problem."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        problems.append(f"{what}: {error}")


def _table_problems(folder: StudyFolder, rows: dict[str, TrialRow], files: Files) -> list[str]:
    """Compare each row of the table with the row that its trial gives."""
    problems: list[str] = []
    held: dict[str, TrialRow] = {}
    with named(problems, TABLE):
        held = {row.trial: row for row in from_table(from_parquet(folder.folder.read(TABLE), SCHEMA.names))}
        files.checked += 1
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


def _journal_problems(folder: StudyFolder, rows: Iterable[TrialRow], files: Files) -> list[str]:
    """Find searched trials that the journal of the searches lacks, and its trials that are not there."""
    problems: list[str] = []
    searched = {row.trial for row in rows if row.policy in SEARCHES}
    if not folder.folder.has(JOURNAL):
        return [f"{JOURNAL} is missing, but {len(searched)} trials were searched"] if searched else []
    with named(problems, JOURNAL):
        recorded = recorded_trials(folder.folder)
        files.checked += 1
        problems += [f"{JOURNAL} lacks trial {key}, which has ended" for key in sorted(searched - recorded)]
        problems += [f"{JOURNAL} has trial {key}, which is not there" for key in sorted(recorded - {*folder.keys()})]
    return problems


def _dense_problems(folder: StudyFolder, outcomes: Iterable[Outcome], files: Files) -> list[str]:
    """Check the dense networks that trials started from, if the storage still has them."""
    problems: list[str] = []
    reported = {outcome.spec.dense.key(): outcome for outcome in outcomes if outcome.facts}
    for key, outcome in reported.items():
        saved = artifact_store.find(folder.folder.parent, "dense", key)
        if saved is None:
            continue
        with named(problems, f"dense network {key}"):
            content = files.read_record(saved)
            accuracy = content.get("val_accuracy")
            if outcome.facts and accuracy != outcome.facts.dense_accuracy:
                problems.append(
                    f"dense network {key} has accuracy {accuracy}, but trial {outcome.spec.key()} reports "
                    f"{outcome.facts.dense_accuracy}"
                )
    return problems
