"""Which trials to run, and what they showed. The verbs of the command line as functions.

Heavy libraries are imported by the verb that needs them.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.comparison import Comparison
    from search.retrieval import Retrieved
    from search.running import RunSummary

__all__ = ["best", "compare", "run", "submit"]

STORAGE = "howcompact-runs"  # where studies go unless told otherwise


def run(
    study: str = "digits",
    storage: str = STORAGE,
    *,
    name: str | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
) -> "RunSummary":
    """Start, continue or extend a study, a YAML file or a shipped name; ValueError says all that is wrong with it.

    overrides: settings as "key=value". address: of a running Ray cluster; None starts a local one.
    """
    from search.study import read_study
    from trainables.storage import Folder

    checked, place = read_study(study, overrides, name), Folder.at(storage)
    from search.running import run as run_study  # Ray is imported only for a study that can run

    return run_study(checked, place, address, _warn)


def compare(folders: Sequence[str], *, test: bool = False) -> "Comparison":
    """Compare the policies of finished studies; `test` reads the test split, once for each trial."""
    from search.comparison import compare as compare_studies
    from search.held_out import with_test
    from search.results import StudyFolder

    opened = [StudyFolder.open(folder) for folder in folders]
    comparison = compare_studies(opened)
    return with_test(comparison, opened) if test else comparison


def best(folder: str, *, where: Sequence[str] = (), policy: str | None = None, out: str = "best") -> "Retrieved":
    """Copy the best trial's network to `out`, verified; where: constraints as "sparsity>=0.9"."""
    from search.results import StudyFolder
    from search.retrieval import best as retrieve

    return retrieve(StudyFolder.open(folder), where, policy, out)


def submit(study: str, address: str, storage: str, *, name: str | None = None, overrides: Sequence[str] = ()) -> str:
    """Run a study as a Ray job on a cluster and return the job's id; storage: a URI that every node reaches."""
    from search.jobs import submit as submit_job

    return submit_job(study, address, storage, overrides=overrides, name=name)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.__stderr__, flush=True)
