"""The command `verify`."""

from typing import Annotated

import typer

import search
from search.cli.options import Json, StudyDir, Trusted, verbosity
from search.results.to_json import to_json
from trainables.counts import quantity

verification = typer.Typer()


@verification.command()
def verify(
    context: typer.Context,
    folder: StudyDir,
    sample: Annotated[int, typer.Option(min=0, help="Number of networks that are measured again.")] = 3,
    trust: Trusted = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Derive every number of a study's tables again from its trials' files. Exit code 1 if anything disagrees.

    Example: howcompact verify howcompact-runs/digits --sample 10
    """
    verified = search.verify(folder, sample=sample, trust=trust, progress=verbosity(context))
    if as_json:
        print(to_json(verified))
    else:
        for problem in verified.problems:
            print(problem)
        print(
            f"{quantity(verified.trials, 'trial')}: {quantity(verified.files, 'file')} checked, "
            f"{quantity(verified.networks, 'network')} rebuilt and "
            f"counted, {verified.measured} measured again"
        )
        if verified.unfinished:
            one, many = "trial has not ended; no table shows it", "trials have not ended; no table shows them"
            print(quantity(verified.unfinished, one, many))
        print(quantity(len(verified.problems), "problem") if verified.problems else "everything agrees")
    if verified.problems:
        raise typer.Exit(1)
