"""What `run --dry-run` prints."""

from search.cli.artifact_lines import print_artifacts
from search.results.durations import about
from search.running.dry_run import DryRun
from trainables.counts import quantity


def print_dry_run(plan: DryRun) -> None:
    """Print what a run would do, what it would reuse, and how long it takes as far as earlier runs tell."""
    print(
        f"study {plan.study}: {quantity(plan.trials, 'trial')} to run, {plan.trials_done:,} done; "
        f"{quantity(plan.searches, 'search', 'searches')}"
    )
    print(f"dense networks: {plan.dense} to train, {plan.dense_reused} reused from the storage")
    print(f"epochs: {plan.epochs:,}")
    print(f"time of dense training: {_time(plan.dense_seconds)}; of the trials: {_time(plan.trial_seconds)}")
    print("  one after the other: divide by the number that run at once; with one GPU each, these are GPU hours")
    print(f"disk: {'unknown, as no trial of this study has ended' if plan.bytes is None else _size(plan.bytes)}")
    print_artifacts(plan.artifacts)
    print("nothing was started")


def _time(seconds: float | None) -> str:
    return "unknown, as no earlier trial in this storage tells" if seconds is None else about(seconds)


def _size(size: int) -> str:
    return f"about {size / 1e6:,.0f} MB" if size < 1e9 else f"about {size / 1e9:,.1f} GB"
