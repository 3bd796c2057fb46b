"""The command `verify`."""

from typing import Annotated

import typer

import search
from search.cli.options import Json, StudyDir, Trusted

verification = typer.Typer()


@verification.command()
def verify(
    folder: StudyDir,
    sample: Annotated[int, typer.Option(min=0, help="Number of networks whose accuracy is measured again.")] = 3,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Derive every number of a study's tables again from its trials' files. Exit code 1 if anything disagrees.

    Example: howcompact verify howcompact-runs/digits --sample 10
    """
    verified = search.verify(folder, sample=sample, trust=trust)
    if as_json:
        print(verified.model_dump_json())
    else:
        for problem in verified.problems:
            print(problem)
        print(
            f"{verified.trials} trials: {verified.files:,} files checked, {verified.networks} networks rebuilt and "
            f"counted, {verified.measured} accuracies measured again"
        )
        if verified.unfinished:
            print(f"{verified.unfinished} trials have not ended: no table shows them")
        print(f"{len(verified.problems)} problems" if verified.problems else "everything agrees")
    if verified.problems:
        raise typer.Exit(1)
