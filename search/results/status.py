"""The progress of a study, read from its folder alone."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from statistics import fmean

from search.results.dense_networks import networks_of, read_networks, seconds_left
from search.results.failures import reasons
from search.results.folder import StudyFolder
from search.results.names import differing, policy_name
from search.results.rows import TrialRow
from search.results.scale import rank
from search.results.searches import is_exhausted, known_exhausted, name_of, settings_of
from search.results.shared_artifacts import SharedArtifact, shared_artifacts
from search.study.cells import cell_key
from search.study.spec import StudySpec
from trainables.checkpoints.epochs import newest_record
from trainables.counts import quantity
from trainables.frozen import Frozen
from trainables.spec import TrialSpec


class StudyStatus(Frozen):
    """Number of trials in each state, their cost and their best results."""

    study: str
    dense: dict[str, int]  # dense networks: total and trained; epochs and epochs_left of their training
    trials: dict[str, int]  # total, done, stopped, failed, unfinished (started, not ended) and missing (not started)
    failures: dict[str, int]  # error -> number of failed trials
    networks: int  # different ones among done trials: those of one cell differ in what a part keeps
    exhausted: list[str]  # searches that ended early, because they found no new network
    epochs: int  # of all trials, with unfinished ones
    best: dict[str, TrialRow]  # policy (and what differs in training) -> its best trial
    dense_seconds_left: float | None  # by the mean of the epochs that have ended; None before the first
    seconds_left: float | None  # of dense training and trials, by the mean of what has ended; None if nothing has
    artifacts: list[SharedArtifact]  # what the trials start from


def status_of(folder: StudyFolder) -> StudyStatus:
    """Count what a study has done and what remains."""
    study, rows = folder.study, folder.rows()
    unfinished = folder.unfinished({row.trial for row in rows})
    total, exhausted = _planned(folder, study, [(row.policy, row.cell) for row in rows], unfinished)
    counts = {state: sum(row.status == state for row in rows) for state in ("done", "stopped", "failed")}
    missing = total - len(rows) - len(unfinished)
    done = [row.seconds for row in rows if row.status == "done"]
    records = [newest_record(folder.trial(spec.key())) for spec in unfinished]
    networks = read_networks(networks_of(study), folder.folder.parent)
    dense_left, remaining = seconds_left(networks), missing + len(unfinished)
    left = dense_left
    if remaining and left is not None:
        left = left + remaining * fmean(done) if done else None
    best: dict[str, TrialRow] = {}
    differs = differing(rows)
    for row in sorted(rows, key=rank):
        if row.status == "done":
            best[policy_name(row, differs)] = row
    return StudyStatus(
        study=study.name,
        dense={
            "total": len(networks),
            "trained": sum(network.trained for network in networks),
            "epochs": sum(network.history[-1].epoch for network in networks if network.history),
            "epochs_left": sum(network.epochs_left for network in networks),
        },
        trials={"total": total, **counts, "unfinished": len(unfinished), "missing": missing},
        failures=reasons(rows),
        networks=len({(row.cell, *sorted(row.parts.items())) for row in rows if row.status == "done"}),
        exhausted=exhausted,
        epochs=sum(row.epochs for row in rows) + sum(len(record.history) for record in records if record),
        best=dict(sorted(best.items())),
        dense_seconds_left=dense_left,
        seconds_left=left,
        artifacts=shared_artifacts(study, folder.folder.parent),
    )


def unfinished_message(folder: StudyFolder) -> str:
    """Say how many trials of a study have ended; empty if all have, or if the study's own file is damaged."""
    with suppress(FileNotFoundError, ValueError):
        ended = folder.table(["trial", "policy", "cell"]).to_pylist()
        started = folder.unfinished({row["trial"] for row in ended})
        total, _ = _planned(folder, folder.study, [(row["policy"], row["cell"]) for row in ended], started)
        if len(ended) < total:
            counts = f"{len(ended):,} of {quantity(total, 'trial has', 'trials have')} ended"
            return f"study {folder.folder.name} is unfinished: {counts}; `howcompact run` continues it"
    return ""


def _planned(
    folder: StudyFolder, study: StudySpec, ended: Sequence[tuple[str, str]], unfinished: Sequence[TrialSpec]
) -> tuple[int, list[str]]:
    """Count the trials of a study; name its searches that find no other network.

    ended: policy and cell of each ended trial. unfinished: the started trials that have not ended.
    """
    trials_of = Counter(ended) + Counter((spec.policy, cell_key(spec)) for spec in unfinished)
    proposals, known, exhausted = 0, known_exhausted(folder.folder), []
    for policy, cells in study.searches():
        name = name_of(policy, cells, settings_of(policy, study.search))
        run = sum(trials_of[policy, cell_key(cell)] for cell in cells)
        exhausted += [name] if is_exhausted(name, run, known) else []
        proposals += run if name in exhausted else study.search.trials - study.search.starts(policy, len(cells))
    return max(len(study.trials()) + proposals, len(ended) + len(unfinished)), exhausted
