"""What `run` prints at its end."""

import shlex
import sys
from typing import TYPE_CHECKING

from search.results.to_json import to_json

if TYPE_CHECKING:
    from search.running.run import RunSummary


def show_run(summary: "RunSummary", as_json: bool) -> None:
    """Print a summary at once, as JSON or as text: the run may still have MLflow to write to."""
    if as_json:
        print(to_json(summary, exclude={"comparison"}))
    else:
        print_run(summary)
    sys.stdout.flush()


def print_run(summary: "RunSummary") -> None:
    """Print the comparison, the trials by state, why trials failed, and what to do next."""
    from search.cli.comparison_tables import print_comparison
    from search.cli.status_lines import print_failures

    if summary.comparison:
        print_comparison(summary.comparison)
    counts = ", ".join(f"{count} {state}" for state, count in summary.trials.items())
    print(f"trials: {counts}")
    print_failures(summary.failures)
    print(f"time: {summary.wall_seconds:.0f} s; the new trials add up to {summary.trial_seconds:.0f} s")
    print(f"study folder: {summary.folder}")
    if summary.tracking:
        print(f"MLflow: mlflow ui --backend-store-uri {shlex.quote(summary.tracking)}")
    if summary.best_command:
        print(f"best checkpoint: {summary.best_command}")
