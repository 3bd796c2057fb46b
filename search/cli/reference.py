"""The commands that print which settings exist."""

import json
from typing import Annotated

import typer

from search.cli.options import Json
from search.results.to_json import to_json

reference = typer.Typer()


@reference.command()
def catalog(
    kind: Annotated[str | None, typer.Argument(help="List only this kind, such as policies.")] = None,
    as_json: Json = False,
) -> None:
    """List models, data sets, criteria, policies, schedules, recoveries, curricula, samplers, studies, ...

    Example: howcompact catalog policies
    """
    from search.cli.catalog import listing

    entries_of = listing(kind)
    if as_json:
        return print(to_json({"catalog": entries_of}))
    for name, entries in entries_of.items():
        print(name)
        for entry, about in entries.items():
            print(f"  {entry:22} {about}")
    return None


@reference.command()
def schema() -> None:
    """Print the JSON schema of study files. With it, editors complete and check them.

    The shipped studies expect the schema beside them, as study.schema.json.

    Example: howcompact schema > study.schema.json
    """
    from search.study.schema import study_schema

    print(json.dumps(study_schema(), indent=2))
