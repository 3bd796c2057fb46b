"""The progress of a study as lines for the terminal."""

from collections.abc import Mapping

from search.cli.artifact_lines import print_artifacts
from search.results.durations import about
from search.results.scale import scale_of
from search.results.status import StudyStatus
from trainables.counts import quantity

MOST_FAILURES = 10  # lines; --json has all
ALWAYS = ("done", "failed")  # states that are printed even if no trial is in them


def print_status(progress: StudyStatus) -> None:
    """Print the trials by state, the training done and left, the best trial of each policy, and what trials reuse."""
    counts = {state: count for state, count in progress.trials.items() if state != "total"}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state in ALWAYS)
    print(
        f"{quantity(progress.trials['total'], 'trial')}: {states}; {quantity(progress.networks, 'different network')}"
    )
    for search in progress.exhausted:
        print(f"the search ended early, as it found no other network: {search}")
    print_failures(progress.failures)
    dense = progress.dense
    epochs_left = f", {quantity(dense['epochs_left'], 'epoch')} left" if dense["epochs_left"] else ""
    print(f"{dense['trained']} of {quantity(dense['total'], 'dense network')} trained{epochs_left}")
    ends = not (epochs_left or counts["unfinished"] or counts["missing"])
    print(f"{quantity(progress.epochs, 'epoch')} of trials{'' if ends else f'; {_time_left(progress)}'}")
    for policy, row in progress.best.items():
        scale = scale_of(row.metric)
        reached = scale.text(row.best_val_accuracy)
        reached += f", in int8 {scale.text(row.quantised_accuracy)}," if row.quantised_accuracy is not None else ""
        print(f"best trial of {policy}: {row.metric} {reached} at sparsity {row.sparsity:g} (trial {row.trial})")
    print_artifacts(progress.artifacts)


def _time_left(progress: StudyStatus) -> str:
    if progress.seconds_left is not None:
        return f"the rest needs {about(progress.seconds_left)}"
    if progress.dense_seconds_left:
        return f"the dense networks need {about(progress.dense_seconds_left)}; the time of the trials is unknown"
    return "time left is unknown"


def print_failures(failures: Mapping[str, int]) -> None:
    """Print why trials failed, one line for each error."""
    for error, count in list(failures.items())[:MOST_FAILURES]:
        print(f"{count} failed: {error}")
    if len(failures) > MOST_FAILURES:
        print(f"{quantity(len(failures) - MOST_FAILURES, 'more error is', 'more errors are')} in --json")
