"""The progress of a study as lines for the terminal."""

from search.results.status import StudyStatus

ALWAYS = ("done", "failed")  # states that are printed even if no trial is in them


def print_status(progress: StudyStatus) -> None:
    """Print the trials by state, the training done and left, and the best trial of each policy."""
    counts = {state: count for state, count in progress.trials.items() if state != "total"}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state in ALWAYS)
    print(f"{progress.trials['total']} trials: {states}")
    left = f"; the rest needs about {progress.seconds_left:.0f} s" if counts["unfinished"] or counts["missing"] else ""
    print(f"{progress.epochs} epochs trained{left}")
    for policy, row in progress.best.items():
        accuracy = f"{100 * (row.best_val_accuracy or 0):.1f} %"
        print(f"best trial of {policy}: accuracy {accuracy} at sparsity {row.sparsity:g} (trial {row.trial})")
