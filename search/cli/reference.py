"""The commands that print what settings there are."""

import json
from typing import Annotated

import typer

from search.cli.options import Json

reference = typer.Typer()


@reference.command()
def catalog(kind: Annotated[str | None, typer.Argument(help="One kind only.")] = None, as_json: Json = False) -> None:
    """List models, data sets, criteria, policies, schedules, recoveries, curricula, samplers, studies, ...

    Example: howcompact catalog policies
    """
    from search.cli.catalog import listing

    found = listing(kind)
    if as_json:
        return print(json.dumps(found))
    for name, entries in found.items():
        print(name)
        for entry, about in entries.items():
            print(f"  {entry:22} {about}")
    return None


@reference.command()
def schema() -> None:
    """Print the JSON schema of study files, by which editors complete and check them.

    The shipped studies name the schema as study.schema.json beside them; write it there.

    Example: howcompact schema > study.schema.json
    """
    from search.study.schema import study_schema

    print(json.dumps(study_schema(), indent=2))
