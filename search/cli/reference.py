"""The commands that print which settings exist."""

import json
from typing import Annotated

import typer

from search.cli.options import Json
from search.results.to_json import to_json
from trainables.plugins import FunctionKind

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
def check(
    function: Annotated[str, typer.Argument(help="The function: package.module:function.")],
    kind: Annotated[FunctionKind, typer.Option("--as", help="What it is used as.")],
    as_json: Json = False,
) -> None:
    """Check a function of your own: run it on a small network, on made-up records or in a made-up search.

    Example: howcompact check myrules:halves --as policy
    """
    from search.methods.contract import check_function

    held = check_function(kind, function)
    if as_json:
        return print(to_json({"function": function, "kind": kind, "checked": held}))
    print(f"{function} can be used as {'an' if kind == 'optimizer' else 'a'} {kind}")
    for line in held:
        print(f"  {line}")
    return None


@reference.command()
def schema() -> None:
    """Print the JSON schema of study files. With it, editors complete and check them.

    The shipped studies expect the schema beside them, as study.schema.json.

    Example: howcompact schema > study.schema.json
    """
    from search.study.schema import study_schema

    print(json.dumps(study_schema(), indent=2))
