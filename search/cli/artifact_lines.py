"""The artifacts that trials share, as lines for the terminal."""

from collections.abc import Sequence

from search.results.shared_artifacts import SharedArtifact
from trainables.counts import quantity

MOST = 12  # lines; --json has all


def print_artifacts(artifacts: Sequence[SharedArtifact]) -> None:
    """Print what the trials of a study start from, and its folder in the storage, one line each."""
    missing = sum(not artifact.ready for artifact in artifacts)
    print(f"what the trials start from ({len(artifacts) - missing} in the storage, {missing} missing):")
    shown = artifacts[:MOST]
    width = max((len(artifact.name) for artifact in shown), default=0)
    for artifact in shown:
        print(f"  {artifact.kind:7} {artifact.name:{width}}  {artifact.path or f'missing, key {artifact.artifact}'}")
    if len(artifacts) > MOST:
        print(f"  {quantity(len(artifacts) - MOST, 'more is', 'more are')} in --json")
